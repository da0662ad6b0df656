"""The direct transport: signs requests itself and sends them over connections of its own."""
