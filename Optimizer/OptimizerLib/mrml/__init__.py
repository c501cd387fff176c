"""The only code of this floor that knows MRML nodes."""
