"""The base as it is: no learning at all. The line that every strategy has to beat."""

from gtl_bench import strategy


@strategy("frozen", label="Frozen base", control=True, lr=0.0)
def frozen(source):
    return []
