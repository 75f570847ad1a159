"""Contacts that single passes and Jacobians of networks show; proteins, how alike they are, and native structures."""
