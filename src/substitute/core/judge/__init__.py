"""The judge of a canary: whether the candidate is worse than the live version. It is given counts, and does no I/O.

    judge = Judge()
    for each look, every two seconds or so:
        judge.look(block)               # what both versions did since the last look
        if judge.worse: stop the canary
    judge.verdict().sentence

It may be looked at at any time and as often as wanted: a candidate that is as good as the live version is called worse
in at most 1 % of all canaries, each with all its looks counted.

What makes that so are bets (e-values). Each look, the judge bets against "the candidate is no worse". The stake is what
it has; the odds are fair, or against the judge, if the statement is true. So on average it does not win, and it reaches
a hundred times its stake in at most one of a hundred canaries, whenever it stops (Ville's inequality, 1939).

- `block`: what is counted. `client_counts`: how single requests become counts.
- `betting`: the bet that both tests place. `failures`, `latency`: the tests.
- `judge`: both together. `verdict`: the three ends, and the sentence for people.

Sources: Turner, Ly, Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
stopping" (2022); ter Schure, Pérez-Ortiz, Ly, Grünwald, "The safe logrank test" (2020); Waudby-Smith, Ramdas,
"Estimating means of bounded random variables by betting" (2023); Lindon, Sanden, Shirikian, "Rapid regression detection
in software deployments through sequential testing" (2022), which is about canaries.
"""
