"""The answer to the lab's question in at most three sentences, drawn from the statistics by stated rules."""

from collections.abc import Sequence

from siamese_lab.runs.names import each_once, in_order_of_strategies
from siamese_lab.study.analysis import HEADLINE, Findings
from siamese_lab.study.circumstances import commits
from siamese_lab.study.comparison import BASELINE, Comparison
from siamese_lab.study.ranks import Ranks
from siamese_lab.study.tables import cells

RULES = (
    "The first sentence names a strategy on a data set if its test Recall@1 differs from that of random sampling, seed "
    "by seed, with p ≤ 0.05 in a paired t-test, corrected by Holm for all strategies and data sets together; where no "
    "strategy does, the data do not separate them.",
    "The second is about ranks over data sets: strategies are told apart if Friedman's test rejects at 5% and their "
    "average ranks differ by more than Nemenyi's critical difference.",
    "The third says what limits the first two.",
)


def answer(findings: Findings) -> list[str]:
    """One to three sentences."""
    strategies = sorted({run.strategy for run in findings.study.finished})
    if len(strategies) < 2:
        return [f"All finished runs are of {strategies[0]}: there is nothing to compare."]
    sentences = [
        _beside_random(findings.compared.get(HEADLINE, [])),
        _over_data(findings.ranks.get(HEADLINE)),
        _limits(findings),
    ]
    return [sentence for sentence in sentences if sentence]


def _beside_random(compared: Sequence[Comparison]) -> str:
    if not compared:
        return f"No strategy has a data set and a seed in common with {BASELINE} sampling, so none is compared with it."
    if all(each.difference.number < 2 for each in compared):
        return (
            "Each strategy has but one seed in common with random sampling, which cannot tell a difference from "
            "chance: the data do not separate these."
        )
    separated = [each for each in compared if each.separated]
    if not separated:
        data = each_once(each.data for each in compared)
        where = data[0] if len(data) == 1 else f"any of {len(data)} data sets"
        return f"By test Recall@1 the data do not separate any strategy from random sampling on {where}."
    told = []
    for strategy in in_order_of_strategies(each.strategy for each in separated):
        mine = [each for each in separated if each.strategy == strategy]
        higher = [each for each in mine if each.difference.mean > 0]
        lower = [each for each in mine if each.difference.mean < 0]
        told += [f"{strategy} raises it on {_places(higher)}"] if higher else []
        told += [f"{strategy} lowers it on {_places(lower)}"] if lower else []
    rest = len(compared) - len(separated)
    of_rest = f"; {rest} of the {len(compared)} comparisons the data do not separate" if rest else ""
    return f"Test Recall@1, beside that of random sampling: {'; '.join(told)}{of_rest}."


def _places(compared: Sequence[Comparison]) -> str:
    return _joined([f"{each.data} ({cells.points(each.difference.mean)} points)" for each in compared])


def _over_data(ranks: Ranks | None) -> str:
    if ranks is None:
        return "Fewer than two data sets have all strategies, so there are no ranks over data sets."
    listed = _joined([f"{name} {rank:.2f}" for name, rank in ranks.average.items()])
    over = f"Over {len(ranks.data)} data sets the average ranks are {listed}"
    tests = f"Friedman’s {cells.p_told(ranks.p)}, critical difference {ranks.critical_difference:.2f}"
    if not ranks.told_apart:
        return f"{over}, which the data do not separate ({tests})."
    pairs = _joined([f"{better} before {worse}" for better, worse in ranks.told_apart])
    return f"{over}, which tell {pairs} ({tests})."


def _limits(findings: Findings) -> str:
    study = findings.study
    limits = []
    seeds = sorted({each.difference.number for each in findings.compared.get(HEADLINE, [])})
    if seeds and seeds[0] < 5:
        fewest = "one seed" if seeds[0] == 1 else f"{seeds[0]} seeds"
        limits.append(f"{'as few as ' if len(seeds) > 1 else ''}{fewest} can only show large differences")
    unfinished = len(study.runs) - len(study.finished) + len(study.missing)
    if unfinished:
        limits.append(f"{unfinished} of {len(study.runs) + len(study.missing)} jobs have not finished")
    if findings.protocol.differing:
        limits.append("not only the strategies differ")
    if len(commits(study)) > 1:
        limits.append("the runs are of several versions of the code")
    return f"To be held against this: {'; '.join(limits)}." if limits else ""


def _joined(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
