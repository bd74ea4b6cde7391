"""Describe the methods of a study in a paragraph for a paper, with the references that it cites as BibTeX."""

from siamese_lab.runs.display import listed
from siamese_lab.runs.display_names import unique
from siamese_lab.study.analysis import HEADLINE, Analysis
from siamese_lab.study.pairs import BOUND
from siamese_lab.study.tables.table import escape_latex

BIBTEX = """\
@inproceedings{schroff2015facenet,
  title = {{FaceNet}: A Unified Embedding for Face Recognition and Clustering},
  author = {Schroff, Florian and Kalenichenko, Dmitry and Philbin, James},
  booktitle = {CVPR}, year = {2015}}
@inproceedings{wu2017sampling,
  title = {Sampling Matters in Deep Embedding Learning},
  author = {Wu, Chao-Yuan and Manmatha, R. and Smola, Alexander J. and Kr{\\"a}henb{\\"u}hl, Philipp},
  booktitle = {ICCV}, year = {2017}}
@inproceedings{musgrave2020reality,
  title = {A Metric Learning Reality Check},
  author = {Musgrave, Kevin and Belongie, Serge and Lim, Ser-Nam},
  booktitle = {ECCV}, year = {2020}}
@article{smyth2004moderated,
  title = {Linear Models and Empirical {Bayes} Methods for Assessing Differential Expression in Microarray Experiments},
  author = {Smyth, Gordon K.},
  journal = {Statistical Applications in Genetics and Molecular Biology}, volume = {3}, number = {1}, year = {2004}}
@article{schuirmann1987tost,
  title = {A Comparison of the Two One-Sided Tests Procedure and the Power Approach for Assessing the Equivalence of
           Average Bioavailability},
  author = {Schuirmann, Donald J.},
  journal = {Journal of Pharmacokinetics and Biopharmaceutics}, volume = {15}, number = {6}, year = {1987}}
@article{holm1979,
  title = {A Simple Sequentially Rejective Multiple Test Procedure},
  author = {Holm, Sture},
  journal = {Scandinavian Journal of Statistics}, volume = {6}, number = {2}, year = {1979}}
"""


def methods(analysis: Analysis) -> str:
    """Return the paragraph, as LaTeX that cites the keys of `BIBTEX`."""
    study = analysis.study
    names = [r"\texttt{" + escape_latex(name) + "}" for name in study.strategies]
    titles = [escape_latex(data) for data in study.data]
    losses = unique(escape_latex(run.results.loss) for run in study.finished)
    networks = unique(escape_latex(run.results.network) for run in study.finished)
    seeds = sorted({len({run.seed for run in study.finished if run.data == data}) for data in study.data})
    shown = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    pairs = len(analysis.pairs.get(HEADLINE, []))
    sentences = [
        f"We compare the triplet selection strategies {listed(names)} on {listed(titles)}, with {shown} "
        f"seed{'' if shown == '1' else 's'} for each data set ({len(study.finished)} runs).",
        f"All strategies train the network {listed(networks)} with the {listed(losses)} loss. For one "
        "seed, they start from the same weights and see the same images in the same order with the same augmentation; "
        "they differ only in the negatives that they select~\\cite{schroff2015facenet,wu2017sampling}.",
    ]
    if any(len(each) for each in analysis.references.values()):
        sentences.append(
            "Raw pixels, the untrained network and, where stated, the same network trained as a classifier "
            "are references."
        )
    if pairs:
        sentences.append(
            f"Differences in test Recall@1 are paired by seed, with a variance that is moderated towards that of all "
            f"strategies of the data set~\\cite{{smyth2004moderated}}. The tests of all {pairs} pairs are corrected "
            f"by Holm's method~\\cite{{holm1979}}. Two strategies are called equivalent if two one-sided tests show "
            f"that they differ by less than {100 * BOUND:g} points~\\cite{{schuirmann1987tost}}. For every other pair, "
            "we state the difference that the test would have detected with a power of 80\\%."
        )
    return " ".join(sentences) + "\n"
