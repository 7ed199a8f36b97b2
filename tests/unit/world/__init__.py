"""The model's world: three apps on one machine where anything may fail, crash or die at any moment.

Every call of a port and every write of the journal is a `look`, which changes nothing, or a `deed`. A `Mishap`
happens at the one that it names. Whatever a deployer does to the world is held against the rules of the contract
at once; each rule that it breaks is a line in `wrongs`, for an exception might be caught on its way.
"""
