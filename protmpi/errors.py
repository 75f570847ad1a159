"""What a user can get wrong. Each error is one line: which key or file, what is wrong, what is allowed."""


class ProtmpiError(Exception):
    """Base of every error that the user can mend; the command line prints it as one line and exits with `status`."""

    status = 2


class ConfigError(ProtmpiError):
    """A key of the configuration is unknown, of the wrong type or out of range."""


class DataError(ProtmpiError):
    """A structure, sequence, data or weights file is missing, damaged or does not fit the configuration."""


class StoreError(ProtmpiError):
    """A Zarr store is missing, damaged or belongs to another run."""


class WorldError(ProtmpiError):
    """The MPI ranks do not form the world that was asked for, or there are more of them than work."""


class LaunchError(ProtmpiError):
    """Jobs cannot be submitted, or the folder of a launch is missing or damaged."""


class SamplingError(ProtmpiError):
    """The dynamics cannot go on: a walker left the sphere's reach or became non-finite."""

    status = 1
