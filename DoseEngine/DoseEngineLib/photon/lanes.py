"""Short dot products as vector instructions.

numba unrolls a sum over eight numbers into eight single additions; asking LLVM for a vector of eight is three times as
fast on any processor that has such vectors, and right on those that have not.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8


@intrinsic
def dot_lanes(typingctx, one, i, other, j, group):
    """Sum of ``one[i, n] * other[j, n]`` over the eight n from ``group * 8``; float32 C-contiguous arrays.

    Indices are not checked.
    """
    array = types.Array(types.float32, 2, "C")
    if one != array or other != array or not isinstance(group, types.IntegerLiteral):
        return None
    first = group.literal_value * LANES
    signature = types.float32(one, types.intp, other, types.intp, types.literal(group.literal_value))

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(ir.FloatType(), LANES)

        def load(array_type, array_value, row):
            array = context.make_array(array_type)(context, builder, array_value)
            width = cgutils.unpack_tuple(builder, array.shape)[1]
            at = builder.add(builder.mul(row, width), ir.Constant(width.type, first))
            return builder.load(builder.bitcast(builder.gep(array.data, [at]), vector.as_pointer()), align=4)

        left = load(signature.args[0], arguments[0], arguments[1])
        right = load(signature.args[2], arguments[2], arguments[3])
        product = builder.fmul(left, right)
        reduce = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.FloatType(), [ir.FloatType(), vector]), "llvm.vector.reduce.fadd.v8f32"
        )
        return builder.call(reduce, [ir.Constant(ir.FloatType(), 0.0), product], fastmath=("reassoc",))

    return signature, codegen


@intrinsic
def add_lanes(typingctx, array, to, one, other, group):
    """``array[to, n] = array[one, n] + array[other, n]`` for the eight n from ``group * 8``; as `dot_lanes`."""
    if array != types.Array(types.float32, 2, "C") or not isinstance(group, types.IntegerLiteral):
        return None
    first = group.literal_value * LANES
    signature = types.void(array, types.intp, types.intp, types.intp, types.literal(group.literal_value))

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(ir.FloatType(), LANES)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        width = cgutils.unpack_tuple(builder, array.shape)[1]

        def row(index):
            at = builder.add(builder.mul(index, width), ir.Constant(width.type, first))
            return builder.bitcast(builder.gep(array.data, [at]), vector.as_pointer())

        total = builder.fadd(builder.load(row(arguments[2]), align=4), builder.load(row(arguments[3]), align=4))
        builder.store(total, row(arguments[1]), align=4)
        return context.get_dummy_value()

    return signature, codegen
