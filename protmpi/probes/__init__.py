"""What a trained network of protein chains knows: scores of its guesses, and heads trained on its frozen embeddings.

score       perplexity and recovery, amino acid by amino acid
embeddings  what the network says of every site of whole chains
contacts    a head that tells which sites touch
functions   a head that tells the labels of a chain (GO terms), with Fmax and AUPR
commands    `protmpi structures`
"""
