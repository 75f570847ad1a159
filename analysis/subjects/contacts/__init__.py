"""Contacts from single passes and Jacobians of networks; proteins, their identity, and native structures."""
