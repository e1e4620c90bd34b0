"""BLEU of sacrebleu over small corpora, and its 13a tokens.

python bleu.py
"""

from golden import HERE, write_json

import sacrebleu
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

OUT = HERE / "bleu.json"

PAIRS = [
    ("Ein Mann liest ein Buch.", "Ein Mann liest ein altes Buch."),
    ("Zwei Hunde spielen im Schnee.", "Zwei Hunde spielen im Schnee."),
    ("Eine Frau in einem roten Kleid tanzt", "Eine Frau im roten Kleid tanzt auf der Bühne."),
    ("Das Kind , das lacht , läuft .", "Das Kind, das lacht, läuft."),
    ("3,5 Kilometer (etwa 2.2 Meilen)", "3,5 Kilometer - etwa 2,2 Meilen"),
    ("Er sagt: \"Guten Tag!\"", "Er sagte: &quot;Guten Tag!&quot;"),
    ("der der der der der", "der Mann"),
    ("Eine Gruppe von Leuten steht vor einem Haus und wartet.", "Eine Gruppe von Menschen wartet vor einem Gebäude."),
    ("", "Ein leerer Satz."),
    ("Ja", "Ja"),
    ("Um 10:30 Uhr, am 5-ten Tag", "Um 10:30 Uhr am 5-ten Tag"),
    ("Ein Junge springt über eine Mauer in das blaue Wasser", "Ein Junge springt von einer Mauer ins blaue Wasser"),
]

CORPORA = {
    "dozen": [(h, [r]) for h, r in PAIRS],
    "one exact": [(PAIRS[1][0], [PAIRS[1][1]])],
    "one smoothed": [(PAIRS[4][0], [PAIRS[4][1]])],
    "no match": [("Hunde laufen schnell davon", ["Eine Katze schläft dort"])],
    "no 4-grams": [("Ein Mann", ["Ein Mann"]), ("Drei Hunde laufen", ["Drei Hunde rennen"])],
    "bigrams at most": [("Ein Mann", ["Ein Mann"])],
    "all empty": [("", ["Ein Mann"]), ("   ", ["Eine Frau"])],
    "empty reference": [("Ein Mann läuft weit weg", [""]), ("Zwei Hunde spielen im Schnee", ["Zwei Hunde spielen im Schnee"])],
    "longer than reference": [("Ein Mann liest ein sehr altes und dickes Buch .", ["Ein Mann liest ein Buch ."])],
    "two references": [
        ("Ein Mann liest ein Buch.", ["Ein Mann liest.", "Jemand liest ein Buch im Park."]),
        ("Zwei Hunde rennen im Schnee", ["Zwei Hunde spielen im Schnee", "Hunde rennen durch den Schnee"]),
        ("ein ein ein Haus", ["ein Haus", "ein ein Haus hier draußen"]),
    ],
}

TEXTS = [
    "Hello, world!",
    "  spaces\tand\u00a0more\u2003of them  ",
    "1,000.50 is not 1, 000. 50",
    "a-b 5-6 x-9 9-x -3",
    "don't stop (now) [or] {later} /ever\\",
    "a.b.c ... U.S. end.",
    "&lt;b&gt; &amp;amp; &quot;q&quot; &#39;",
    "<skipped>half-\nline\nnext",
    "“Größe” – 5€ ¿qué? 日本。語",
    ",., .5, 5., ,5",
    "😀,ok 😀.",
    "a=b+c*d^e~f|g`h_i@j#k$l%m;n?o",
    "\x1f unit \x85 next \ufeff mark \u200b width",
    "",
]


def main():
    metric = BLEU()
    corpora = []
    for name, pairs in CORPORA.items():
        hypotheses = [h for h, _ in pairs]
        most = max(len(refs) for _, refs in pairs)
        references = [[refs[i] for _, refs in pairs] for i in range(most)]
        result = metric.corpus_score(hypotheses, references)
        corpora.append(
            {
                "name": name,
                "hypotheses": hypotheses,
                "references": [refs for _, refs in pairs],
                "score": result.score,
                "precisions": result.precisions,
                "brevityPenalty": result.bp,
                "correct": result.counts,
                "total": result.totals,
                "hypothesisLength": result.sys_len,
                "referenceLength": result.ref_len,
            }
        )
        print(f"{name:24} {result.score:.4f}")
    tokens = Tokenizer13a()
    document = {
        "versions": {"sacrebleu": sacrebleu.__version__},
        "signature": str(metric.get_signature()).rsplit("|version", 1)[0],
        "corpora": corpora,
        "tokens": [{"text": text, "tokens": tokens(text.rstrip()).split()} for text in TEXTS],
    }
    write_json(OUT, document)


if __name__ == "__main__":
    main()
