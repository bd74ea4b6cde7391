"""The contracts of extensions: checks that every registered strategy, loss, network, data set and metric passes.

    pytest --pyargs siamese_lab.contracts            every part, those of installed packages too
    pytest --pyargs siamese_lab.contracts -k NAME    one part

A failing check names the part, the value it returned and what the contract expects.
"""
