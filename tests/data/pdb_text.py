"""PDB files written by hand, atom by atom."""


def atom(
    residue,
    number,
    x,
    name="CA",
    chain="A",
    alternate=" ",
    insertion=" ",
    occupancy=1.0,
    element="C",
    record="ATOM",
    y=0.0,
):
    return (
        f"{record:<6}{1:>5} {name:^4}{alternate}{residue:>3} {chain}{number:>4}{insertion}   "
        f"{x:8.3f}{y:8.3f}{0:8.3f}{occupancy:6.2f}{10:6.2f}          {element:>2}"
    )


def pdb(*atoms, sequence=None, after=()):
    seqres = [f"SEQRES   1 A{len(sequence):5d}  {' '.join(sequence)}"] if sequence else []
    return "\n".join([*seqres, *atoms, "TER", *after, "END"]) + "\n"
