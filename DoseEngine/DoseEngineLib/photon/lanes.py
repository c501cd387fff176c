"""Short sums of products as vector instructions.

numba unrolls a sum over eight numbers into eight single additions; asking LLVM for a vector of eight is three times as
fast on any processor that has such vectors, and right on those that have not.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
# Groups of lanes in every row: known to the compiler, places are sums and not products.
GROUPS = 3
_ARRAY = types.Array(types.float32, 2, "C")
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
# Added in marching, so that neither it nor a product of two ever becomes denormal, which is slow; far below any dose.
_NOTHING = 1e-15


def _at(context, builder, array_type, array_value):
    """Function of (row, group) that gives where eight lanes of a row begin, as a pointer to a vector."""
    data = context.make_array(array_type)(context, builder, array_value).data

    def pointer(row, group):
        start = builder.mul(row, ir.Constant(row.type, GROUPS * LANES))
        at = builder.add(start, ir.Constant(row.type, group * LANES))
        return builder.bitcast(builder.gep(data, [at]), _VECTOR.as_pointer())

    return pointer


@intrinsic
def product_of_lanes(typingctx, columns, c, rows, r, factor, first, last):
    """Sum of ``columns[c, n] * rows[r, n]`` over lanes: groups ``first`` to ``last - 1`` by ``factor``, and ``last``.

    A group is eight lanes; ``first`` and ``last`` are literals; the arrays float32, C-contiguous and three groups wide.
    Shapes and indices are not checked.
    """
    groups = (first, last)
    if columns != _ARRAY or rows != _ARRAY or not all(isinstance(g, types.IntegerLiteral) for g in groups):
        return None
    signature = types.float32(columns, types.intp, rows, types.intp, types.float32, first, last)

    def codegen(context, builder, signature, arguments):
        left = _at(context, builder, signature.args[0], arguments[0])
        right = _at(context, builder, signature.args[2], arguments[2])
        contract = ("contract",)

        def product(group):
            one = builder.load(left(arguments[1], group), align=4)
            return builder.fmul(one, builder.load(right(arguments[3], group), align=4), flags=contract)

        total = product(first.literal_value)
        for group in range(first.literal_value + 1, last.literal_value):
            total = builder.fadd(total, product(group), flags=contract)
        factors = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(LANES):
            factors = builder.insert_element(factors, arguments[4], ir.Constant(ir.IntType(32), lane))
        total = builder.fadd(builder.fmul(total, factors, flags=contract), product(last.literal_value), flags=contract)
        reduce = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.FloatType(), [ir.FloatType(), _VECTOR]), "llvm.vector.reduce.fadd.v8f32"
        )
        return builder.call(reduce, [ir.Constant(ir.FloatType(), 0.0), total], fastmath=("reassoc",))

    return signature, codegen


@intrinsic
def join_lanes(typingctx, array, to, of, count, first, last):
    """``array[to + c, n] = array[of + 2 c, n] + array[of + 2 c + 1, n]`` for c below ``count``, the n of some groups.

    The groups are ``first`` to ``last``, literals; as `product_of_lanes` otherwise.
    """
    groups = (first, last)
    if array != _ARRAY or not all(isinstance(g, types.IntegerLiteral) for g in groups):
        return None
    signature = types.void(array, types.intp, types.intp, types.intp, first, last)

    def codegen(context, builder, signature, arguments):
        at = _at(context, builder, signature.args[0], arguments[0])
        one = ir.Constant(arguments[1].type, 1)
        with cgutils.for_range(builder, arguments[3]) as loop:
            result = builder.add(arguments[1], loop.index)
            left = builder.add(arguments[2], builder.add(loop.index, loop.index))
            right = builder.add(left, one)
            for group in range(first.literal_value, last.literal_value + 1):
                total = builder.fadd(builder.load(at(left, group), align=4), builder.load(at(right, group), align=4))
                builder.store(total, at(result, group), align=4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def march_lanes(typingctx, array, place, steps, direction, strip, ratio, fall, first, last):
    """Fill ``array`` from a row on as a Gaussian on equal steps: each row is the last times a ratio that falls.

    ``array[place + direction * k, n] = array[place + direction * (k - 1), n] * ratio[n] * fall[n]**(k - 1)`` for k from
    1 to ``steps``, the n of groups ``first`` to ``last``; ``direction`` is a literal, 1 or -1; ``ratio`` and ``fall``
    are where these begin in ``strip``, for all groups, float32 and C-contiguous. As `product_of_lanes` otherwise.
    """
    literals = (direction, first, last)
    if array != _ARRAY or strip != types.Array(types.float32, 1, "C"):
        return None
    if not all(isinstance(value, types.IntegerLiteral) for value in literals):
        return None
    signature = types.void(array, types.intp, types.intp, direction, strip, types.intp, types.intp, first, last)

    def codegen(context, builder, signature, arguments):
        groups = range(first.literal_value, last.literal_value + 1)
        at = _at(context, builder, signature.args[0], arguments[0])
        data = context.make_array(signature.args[4])(context, builder, arguments[4]).data

        def load(start, group):
            start = builder.add(start, ir.Constant(start.type, group * LANES))
            return builder.load(builder.bitcast(builder.gep(data, [start]), _VECTOR.as_pointer()), align=4)

        values, factors, falls = [], [], []
        for group in groups:
            values.append(cgutils.alloca_once_value(builder, builder.load(at(arguments[1], group), align=4)))
            factors.append(cgutils.alloca_once_value(builder, load(arguments[5], group)))
            falls.append(load(arguments[6], group))
        row = cgutils.alloca_once_value(builder, arguments[1])
        nothing = ir.Constant(_VECTOR, [_NOTHING] * LANES)
        step = ir.Constant(arguments[1].type, direction.literal_value)
        with cgutils.for_range(builder, arguments[2]):
            here = builder.add(builder.load(row), step)
            builder.store(here, row)
            for group, value, factor, fall_here in zip(groups, values, factors, falls, strict=True):
                now = builder.fmul(builder.load(value), builder.load(factor), flags=("contract",))
                now = builder.fadd(now, nothing, flags=("contract",))
                builder.store(now, value)
                builder.store(builder.fmul(builder.load(factor), fall_here), factor)
                builder.store(now, at(here, group), align=4)
        return context.get_dummy_value()

    return signature, codegen
