"""Items of reporting standards, in our own words, with the facts of a run that answer them.

An item without a fact is the authors': no file of a run knows it. All numbers and topics were
compared with checklists that authors of published studies had filled in item by item.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChecklistItem:
    """An item of a standard.

    Attributes:
        number: of the item in the standard.
        section: of the report that it belongs to.
        text: what the item asks for, in our own words.
        facts: names of facts that answer it, or a part of it, see `collect_facts`.
    """

    number: str
    section: str
    text: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Standard:
    """A reporting standard.

    Attributes:
        title: of the standard, with its year.
        source: publication that has the items.
        items: in the order of the standard.
    """

    title: str
    source: str
    items: tuple[ChecklistItem, ...]


def _make(section: str, rows: str) -> tuple[ChecklistItem, ...]:
    """Makes items of lines `NUMBER | text | names of facts`."""
    found = []
    for line in rows.strip().splitlines():
        number, text, facts = (cell.strip() for cell in line.split('|'))
        found.append(ChecklistItem(number, section, text, tuple(facts.split())))
    return tuple(found)


CLAIM = Standard(
    'CLAIM, 2024 update',
    'Tejani et al., "Checklist for artificial intelligence in medical imaging (CLAIM): 2024 '
    'update", Radiology: Artificial Intelligence 6(4), 2024, e240300, doi:10.1148/ryai.240300',
    (
        *_make(
            'Title and abstract',
            """
1 | the title or abstract names the study as one of an AI method, and the kind of method |
2 | a structured summary of design, methods, results and conclusions |
""",
        ),
        *_make(
            'Introduction',
            """
3 | background, and the intended use and role of the method |
4 | aims, objectives and hypotheses |
""",
        ),
        *_make(
            'Study design',
            """
5 | prospective or retrospective |
6 | goal of the study, such as a new method or its testing |
""",
        ),
        *_make(
            'Data',
            """
7 | sources of the data | sources
8 | criteria of inclusion and exclusion |
9 | preprocessing of the data | preprocessing
10 | how subsets or crops of the data were selected | partition
11 | how the data were de-identified |
12 | how missing data were handled | missing
13 | how the images were acquired |
""",
        ),
        *_make(
            'Reference standard',
            """
14 | definition of the reference standard | classes
15 | reasons for choosing it |
16 | who annotated, and how |
17 | annotation of the test set |
18 | variability between and within raters, and how it was reduced |
""",
        ),
        *_make(
            'Data partitions',
            """
19 | how data were assigned to training, validation and test | partition
20 | level at which the partitions are disjoint | disjoint
""",
        ),
        *_make(
            'Testing data',
            """
21 | intended size of the test set and how it was determined | test_size
""",
        ),
        *_make(
            'Model',
            """
22 | structure of the model, inputs, outputs | architecture
23 | software, with versions | software
24 | initialization of the parameters | initialization
""",
        ),
        *_make(
            'Training',
            """
25 | training: augmentation, hyperparameters, length | training augmentation
26 | how the final model was selected | selection
27 | ensembles, if any | ensembling
""",
        ),
        *_make(
            'Evaluation',
            """
28 | metrics of performance | metrics
29 | significance and uncertainty | statistics
30 | robustness or sensitivity analysis | subgroups selective
31 | methods of explanation | explanation
32 | evaluation on internal data | internal
33 | testing on external data | external
34 | registration of a clinical trial |
""",
        ),
        *_make(
            'Results',
            """
35 | numbers of patients or examinations included and excluded | test_size
36 | demographic and clinical characteristics of each partition | case_mix
37 | performance with its uncertainty, on all partitions | performance
38 | diagnostic performance and its precision | operating_point
39 | analysis of failures | failures
""",
        ),
        *_make(
            'Discussion',
            """
40 | limitations: bias, uncertainty, generalization | limits
41 | implications for practice, with the intended use | use
""",
        ),
        *_make(
            'Other information',
            """
42 | where protocol and technical details are found | config
43 | availability of software, model and data | availability
44 | funding, other support and the role of funders |
""",
        ),
    ),
)

TRIPOD_AI = Standard(
    'TRIPOD+AI, 2024',
    'Collins et al., "TRIPOD+AI statement: updated guidance for reporting clinical prediction '
    'models that use regression or machine learning methods", BMJ 385, 2024, e078378, '
    'doi:10.1136/bmj-2023-078378',
    (
        *_make(
            'Title and abstract',
            """
1 | the title names development or evaluation of a prediction model, the people and the outcome |
2 | an abstract by TRIPOD+AI for abstracts |
""",
        ),
        *_make(
            'Introduction',
            """
3a | context of health care, reasons, and earlier models |
3b | the people aimed at, purpose in care, and intended users |
3c | known inequalities of health between groups |
4 | objectives: development, validation, or both |
""",
        ),
        *_make(
            'Methods: data and participants',
            """
5a | sources of the data for development and evaluation, and reasons | sources
5b | dates of the data |
6a | setting, number and place of the centres | centres
6b | criteria of eligibility |
6c | treatments, and how they were handled |
7 | preparation of the data and checks of their quality, in all groups alike | preprocessing
""",
        ),
        *_make(
            'Methods: outcome and predictors',
            """
8a | the outcome, when and how it was assessed | classes
8b | who assessed it, if it takes judgement |
8c | blinding of the assessment |
9a | choice of predictors before modelling | inputs
9b | definition of the predictors, and how they were measured | inputs
9c | who assessed predictors that take judgement |
10 | how the size of the study was found, for development and evaluation | test_size
11 | missing data, and reasons for leaving data out | missing
""",
        ),
        *_make(
            'Methods: analysis',
            """
12a | how data were used for development and evaluation | partition disjoint
12b | handling of the predictors: form, scaling, standardization | preprocessing
12c | kind of model, steps, hyperparameters, internal validation | architecture training selection
12d | heterogeneity between clusters, such as centres | subgroups
12e | measures and plots of performance, and comparison of models | metrics statistics
12f | updating of the model after evaluation, such as recalibration | calibration
12g | how predictions were computed in the evaluation | predicting
13 | class imbalance: methods, and recalibration after them | imbalance
14 | fairness: approaches and reasons |
15 | the output, classes and the thresholds with reasons | operating_point
16 | differences of development and evaluation data | external
17 | ethical approval and consent |
""",
        ),
        *_make(
            'Open science',
            """
18a | funding and the role of funders |
18b | conflicts of interest |
18c | where the protocol is |
18d | registration |
18e | availability of the data | fingerprints
18f | availability of the code | config software
19 | involvement of patients and the public |
""",
        ),
        *_make(
            'Results',
            """
20a | flow of participants, with and without the outcome | test_size
20b | characteristics overall and by setting, missing data, events | case_mix
20c | comparison of development and evaluation data | external
21 | participants and events in each analysis | test_size
22 | the full model, so that others can predict with it | availability architecture
23a | performance with intervals, also of key groups | performance calibration
23b | heterogeneity of the performance between clusters | subgroups
24 | results of updating the model | calibration
""",
        ),
        *_make(
            'Discussion',
            """
25 | interpretation, with fairness, in the light of earlier studies |
26 | limitations and their effects | limits
27a | how input of poor quality or none is handled in use | bad_input
27b | whether users must interact, and which expertise they need |
27c | next steps of research, and the view on applicability |
""",
        ),
    ),
)

STANDARDS = {'claim': CLAIM, 'tripod-ai': TRIPOD_AI}
