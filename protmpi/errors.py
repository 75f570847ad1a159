"""Mistakes of a user. Each error is one line that names the key or file, what is wrong and what is allowed."""


class ProtmpiError(Exception):
    """Base of every error that the user can fix. The command line prints it as one line and exits with `status`."""

    status = 2


class ConfigError(ProtmpiError):
    """A key of the configuration is unknown, of the wrong type or out of range."""


class DataError(ProtmpiError):
    """A structure, sequence, data or weights file is missing, damaged or does not fit the configuration."""


class StoreError(ProtmpiError):
    """A Zarr store is missing, damaged or belongs to another run."""


class WorldError(ProtmpiError):
    """The MPI ranks do not form the expected world, or there are more ranks than work."""


class LaunchError(ProtmpiError):
    """Jobs cannot be submitted, or the folder of a launch is missing or damaged."""


class SamplingError(ProtmpiError):
    """The dynamics cannot go on: a walker missed the sphere or became non-finite."""

    status = 1
