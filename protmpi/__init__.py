"""protmpi: Boltzmann sampling exp(-U/T) of the parameters of small protein networks."""

__version__ = "0.1.0"
