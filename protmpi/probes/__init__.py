"""Probes of a trained network of protein chains: scores of its guesses, and heads on its frozen embeddings.

score       perplexity and recovery, amino acid by amino acid
embeddings  embeddings of every site of whole chains
contacts    a head that predicts which sites touch
functions   a head that predicts the labels of a chain (GO terms), with Fmax and AUPR
commands    `protmpi structures`
"""
