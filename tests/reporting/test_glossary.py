"""Terms of the report lead to their meaning, whatever stands around them."""

from linpoison.reporting.glossary import linked, terms_in


def test_terms_are_links_and_everything_else_is_escaped():
    text = linked("Slabs <b>of</b> the outer set & KKT residuals; based on a slabby thing")
    assert str(text) == (
        '<a class="term" href="#term-slab">Slabs</a> &lt;b&gt;of&lt;/b&gt; the '
        '<a class="term" href="#term-outer-set">outer set</a> &amp; '
        '<a class="term" href="#term-KKT-residual">KKT residuals</a>; based on a slabby thing'
    )


def test_options_and_shares_stay_on_one_line():
    assert str(linked("run --epsilon 0.03, not well--known: 5.0 % of it")) == (
        'run <span class="option">--epsilon</span> 0.03, not well--known: 5.0&nbsp;% of it'
    )


def test_the_terms_of_a_text_are_those_it_uses():
    found = terms_in(["A decoy within the Budget,", "then a decoy", "and no budgeting"])
    assert [(place, term) for place, term, _ in found] == [("term-budget", "budget"), ("term-decoy", "decoy")]
