// SPDX-License-Identifier: GPL-3.0-or-later
// The blind desk: shuffling, sealing, votes with undo, and statistics held against SciPy's.
#include "core/judge/desk_result.h"
#include "tests/support.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <QCryptographicHash>
#include <QtTest>
#include <set>

using namespace bitlathe;

namespace {

Transcript transcript(const std::string& id,
                      std::vector<std::pair<std::string, std::string>> said) {
  Transcript out;
  out.prompt_id = id;
  out.prompt = "Prompt of " + id;
  for (auto& [title, text] : said) {
    TranscriptSide side;
    side.title = title;
    side.path = "/models/" + title;
    side.text = text;
    side.stop_reason = "length";
    out.sides.push_back(side);
  }
  return out;
}

/// 24 prompts in two categories, three models, of which the prompts numbered in `same` got equal
/// answers.
std::vector<Transcript> set_of(const std::set<int>& same = {}) {
  std::vector<Transcript> out;
  for (int i = 1; i <= 24; ++i) {
    const std::string n = std::to_string(i);
    const bool equal = same.count(i) > 0;
    out.push_back(transcript((i <= 12 ? "story-" : "sum-") + n,
                             {{"original", "alpha " + n},
                              {"int4", equal ? " alpha " + n + "\n" : "beta " + n},
                              {"int8", "gamma " + n}}));
  }
  return out;
}

std::vector<Transcript> first_of(std::size_t prompts) {
  auto all = set_of();
  all.resize(prompts);
  return all;
}

Desk made(const std::vector<Transcript>& transcripts, DeskOptions options) {
  if (options.models.empty())
    options.models = {0, 1};
  auto desk = Desk::make(desk_material(transcripts), options);
  if (!desk)
    qFatal("%s", desk.error().text().c_str());
  return std::move(*desk);
}

DeskOptions with_salt(const char* salt, std::vector<std::size_t> models = {0, 1}) {
  DeskOptions options;
  options.models = std::move(models);
  options.seed = 5;
  options.salt = salt;
  return options;
}

/// Whose text it is, by what the models above say.
char writer(const std::string& text) { return text[text.find_first_not_of(' ')]; }

void vote_for(Desk& desk, char preferred) {
  while (const auto item = desk.next())
    desk.cast(*item, writer(desk.items()[*item].a) == preferred ? Vote::a : Vote::b);
}

Json reparsed(const Desk& desk) { return Json::parse(desk_to_json(desk).dump()); }

Json golden() { return *read_json_file(test::source_dir() / "tests" / "golden" / "binomial.json"); }

bool near(double a, double b, double tolerance = 1e-9) {
  return std::fabs(a - b) <= tolerance * std::max(1.0, std::fabs(b));
}

} // namespace

class TestDesk : public QObject {
  Q_OBJECT
 private Q_SLOTS:

  // --- statistics ---------------------------------------------------------------------------

  void intervalsAsScipy() {
    const Json shares = golden()["shares"];
    QVERIFY(shares.size() > 60);
    for (const Json& entry : shares) {
      const auto right = entry["right"].get<std::int64_t>(), n = entry["n"].get<std::int64_t>();
      const auto say = QByteArray::number(qint64(right)) + " of " + QByteArray::number(qint64(n));
      const Interval exact = exact_interval(right, n), wilson = wilson_interval(right, n);
      QVERIFY2(near(exact.low, entry["exact"][0].get<double>()), say);
      QVERIFY2(near(exact.high, entry["exact"][1].get<double>()), say);
      QVERIFY2(near(wilson.low, entry["wilson"][0].get<double>()), say);
      QVERIFY2(near(wilson.high, entry["wilson"][1].get<double>()), say);
      const double p = entry["p"].get<double>();
      QVERIFY2(std::fabs(sign_test_p(right, n - right) - p) <= 1e-9 * p, say);
      QCOMPARE(sign_test_p(right, n - right), sign_test_p(n - right, right));
    }
  }
  void tailsAsScipy() {
    for (const Json& entry : golden()["tails"]) {
      const double expected = entry["at_least"].get<double>();
      const double got = binomial_at_least(
          entry["k"].get<std::int64_t>(), entry["n"].get<std::int64_t>(), entry["p"].get<double>());
      QVERIFY2(std::fabs(got - expected) <= 1e-9 * std::max(expected, 1e-290),
               entry.dump().c_str());
    }
  }
  void powerAsScipy() {
    for (const Json& entry : golden()["power"]) {
      const auto n = entry["n"].get<std::int64_t>();
      QCOMPARE(votes_to_show(n), entry["needed"].get<std::int64_t>());
      if (entry["detectable"].is_null())
        QVERIFY(std::isnan(detectable_share(n)));
      else
        QVERIFY(near(detectable_share(n), entry["detectable"].get<double>(), 1e-8));
    }
    QCOMPARE(votes_to_show(0), 0);
    QVERIFY(std::isnan(detectable_share(0)));
  }
  void nothingToCount() {
    QCOMPARE(sign_test_p(0, 0), 1.0);
    QCOMPARE(exact_interval(0, 0).low, 0.0);
    QCOMPARE(exact_interval(0, 0).high, 1.0);
  }
  void holm() { // worked by hand: sorted 0.01 0.03 0.04 times 3 2 1, never falling
    const auto adjusted = holm_adjusted({0.04, 0.01, 0.03});
    QVERIFY(near(adjusted[0], 0.06) && near(adjusted[1], 0.03) && near(adjusted[2], 0.06));
    QVERIFY(holm_adjusted({}).empty());
    QCOMPARE(holm_adjusted({0.7, 0.8})[0], 1.0);
  }

  // --- material -----------------------------------------------------------------------------

  void categories() {
    QCOMPARE(prompt_category("writing-3"), std::string("writing"));
    QCOMPARE(prompt_category("code/12"), std::string("code"));
    QCOMPARE(prompt_category("follow-three-lines"), std::string("follow"));
    QCOMPARE(prompt_category("7"), std::string());
    QCOMPARE(prompt_category("kite"), std::string());
    QCOMPARE(prompt_category(""), std::string());
  }
  void material() {
    auto transcripts = set_of();
    transcripts.push_back(transcript("story-1", {{"int4", "again"}})); // newer
    transcripts.push_back(transcript("story-1", {{"int4", "warm"}}));
    transcripts.back().sampling.temperature = 0.8; // another question
    const DeskMaterial material = desk_material(transcripts);
    QCOMPARE(int(material.models.size()), 3);
    QCOMPARE(int(material.prompts.size()), 25);
    QCOMPARE(material.prompts[0].answers[1].text, std::string("again"));
    QCOMPARE(material.prompts[0].category, std::string("story"));
    QVERIFY(!material.prompts[24].answers[0].there);
    QVERIFY(material.prompts[24].answers[1].there);
  }
  void sameTitles() {
    auto transcripts = std::vector<Transcript>{transcript("1", {{"int4", "x"}, {"int4", "y"}})};
    transcripts[0].sides[1].path = "/results/b";
    const DeskMaterial material = desk_material(transcripts);
    QCOMPARE(int(material.models.size()), 2);
    QCOMPARE(material.models[0].title, std::string("int4 (int4)"));
    QCOMPARE(material.models[1].title, std::string("int4 (b)"));
  }
  void refused() {
    const DeskMaterial material = desk_material(set_of());
    const auto error = [&](std::vector<std::size_t> models) {
      DeskOptions options;
      options.models = std::move(models);
      const auto desk = Desk::make(material, options);
      return desk.ok() ? std::string() : desk.error().code;
    };
    QCOMPARE(error({0}), std::string("bad-argument"));
    QCOMPARE(error({0, 0}), std::string("bad-argument"));
    QCOMPARE(error({0, 9}), std::string("bad-argument"));
    QCOMPARE(error({0, 1, 2, 0, 1}), std::string("bad-argument"));
    QCOMPARE(error({0, 1}), std::string());
    QVERIFY(!Desk::make({}, with_salt("s")).ok());
  }
  void unansweredPromptsAreLeftOut() {
    auto transcripts = set_of();
    transcripts[3].sides[1].problem = "out of memory";
    transcripts[5].sides.erase(transcripts[5].sides.begin());
    transcripts[7].sides[0].stop_reason = "stopped";
    const Desk desk = made(transcripts, with_salt("s"));
    QCOMPARE(int(desk.items().size()), 21);
    QCOMPARE(int(desk.notes().size()), 1);
    QVERIFY(desk.notes()[0].find("3 prompts were left out") == 0);
    QVERIFY(desk.notes()[0].find("out of memory") != std::string::npos);
  }
  void halfCharacters() {
    auto transcripts = set_of();
    transcripts[0].sides[0].text = "caf\xc3";
    const Desk desk = made(transcripts, with_salt("s"));
    const auto read = desk_from_json(reparsed(desk));
    QVERIFY(read.ok());
    QCOMPARE(read->tampering(), std::string());
  }

  // --- shuffling ----------------------------------------------------------------------------

  void shuffledBySeed() {
    const auto order = [](const Desk& desk) {
      std::string out;
      for (const auto& item : desk.items())
        out += item.prompt_id + item.a + "|";
      return out;
    };
    DeskOptions options = with_salt("salt");
    const auto first = order(made(set_of(), options));
    QCOMPARE(order(made(set_of(), options)), first);
    options.seed = 6;
    QVERIFY(order(made(set_of(), options)) != first);
    options.seed = 5;
    options.salt = "other"; // other sides, the same order of prompts
    QVERIFY(order(made(set_of(), options)) != first);
    // Without a salt of one's own it is drawn.
    options.salt.clear();
    QVERIFY(made(set_of(), options).commitment() != made(set_of(), options).commitment());
  }
  void sidesAreBalanced() {
    for (int seed = 0; seed < 20; ++seed) {
      DeskOptions options = with_salt("s", {0, 1, 2});
      options.seed = std::uint64_t(seed);
      options.all_pairs = true;
      const Desk desk = made(set_of(), options);
      QCOMPARE(int(desk.items().size()), 72);
      std::map<std::string, int> left;
      for (std::size_t i = 0; i < desk.items().size(); ++i) {
        const auto& item = desk.items()[i];
        ++left[{writer(item.a), writer(item.b)}];
        if (i > 0)
          QVERIFY(item.prompt_id != desk.items()[i - 1].prompt_id);
      }
      QCOMPARE(int(left.size()), 6);
      for (const auto& [pair, times] : left)
        QCOMPARE(times, 12);
    }
  }
  void referenceAgainstEach() {
    DeskOptions options = with_salt("s", {1, 0, 2}); // int4 is the reference
    const Desk desk = made(set_of(), options);
    QCOMPARE(int(desk.items().size()), 48);
    for (const auto& item : desk.items())
      QVERIFY((writer(item.a) == 'b') != (writer(item.b) == 'b'));
  }
  void fewerPrompts() {
    DeskOptions options = with_salt("s");
    options.prompts = 10;
    const auto drawn = [&] {
      const Desk desk = made(set_of(), options);
      std::set<std::string> ids;
      for (const auto& item : desk.items())
        ids.insert(item.prompt_id);
      return ids;
    };
    const auto ids = drawn();
    QCOMPARE(int(ids.size()), 10);
    options.seed = 77;
    QVERIFY(drawn() != ids);
  }

  // --- voting -------------------------------------------------------------------------------

  void undoAndRedo() {
    Desk desk = made(set_of(), with_salt("s"));
    QVERIFY(!desk.undo() && !desk.redo());
    QCOMPARE(*desk.next(), std::size_t(0));
    desk.cast(0, Vote::a);
    desk.cast(1, Vote::tie);
    desk.cast(0, Vote::b); // changed one's mind
    QCOMPARE(desk.vote(0), Vote::b);
    QCOMPARE(int(desk.answered()), 2);
    QCOMPARE(*desk.undo(), std::size_t(0));
    QCOMPARE(desk.vote(0), Vote::a);
    QCOMPARE(*desk.undo(), std::size_t(1));
    QCOMPARE(desk.vote(1), Vote::none);
    QCOMPARE(*desk.next(), std::size_t(1));
    QCOMPARE(*desk.redo(), std::size_t(1));
    QCOMPARE(desk.vote(1), Vote::tie);
    desk.cast(2, Vote::both_bad); // drops what could be redone
    QVERIFY(!desk.can_redo());
    desk.cast(2, Vote::none);
    desk.cast(99, Vote::a);
    QCOMPARE(int(desk.answered()), 3);
  }
  void skippedItemsComeBack() {
    Desk desk = made(first_of(3), with_salt("s"));
    desk.skip(0);
    QCOMPARE(*desk.next(), std::size_t(1));
    desk.skip(1);
    desk.cast(2, Vote::a);
    QCOMPARE(*desk.next(), std::size_t(0));
    desk.skip(0);
    QCOMPARE(*desk.next(), std::size_t(1));
    desk.cast(1, Vote::b);
    QCOMPARE(*desk.next(), std::size_t(0));
    QCOMPARE(*desk.undo(), std::size_t(1));
    QCOMPARE(*desk.undo(), std::size_t(0)); // the skip
    QCOMPARE(*desk.next(), std::size_t(0));
    desk.cast(0, Vote::a);
    desk.cast(1, Vote::a);
    QVERIFY(!desk.next());
    QVERIFY(desk.complete());
  }
  void identicalTextsAreNotAsked() {
    Desk desk = made(set_of({1, 13, 24}), with_salt("s"));
    QCOMPARE(int(desk.asked()), 21);
    std::size_t seen = 0;
    while (const auto item = desk.next()) {
      QVERIFY(!desk.items()[*item].identical);
      desk.cast(*item, Vote::tie);
      ++seen;
    }
    QCOMPARE(int(seen), 21);
    desk.unseal();
    const DeskResult result = desk_result(desk);
    QCOMPARE(int(result.pairs[0].counts.identical), 3);
    QCOMPARE(int(result.pairs[0].counts.ties), 21);
    QVERIFY(std::any_of(result.notes.begin(), result.notes.end(), [](const std::string& note) {
      return note.find("3 items had the same text") == 0;
    }));
  }

  // --- sealing ------------------------------------------------------------------------------

  void sealed() {
    Desk desk = made(set_of(), with_salt("s"));
    QVERIFY(desk.models().empty() && desk.pairs().empty() && !desk.sides(0));
    QVERIFY(desk_result(desk).pairs.empty());
    for (const std::string& text : {desk_to_json(desk).dump(), desk_report_json(desk).dump(),
                                    desk_csv(desk), desk_markdown(desk)}) {
      QVERIFY(text.find("original") == std::string::npos);
      QVERIFY(text.find("int4") == std::string::npos);
    }
    const std::string commitment = desk.commitment();
    QCOMPARE(int(commitment.size()), 64);
    desk.unseal();
    QCOMPARE(desk.commitment(), commitment);
    QCOMPARE(int(desk.models().size()), 2);
    for (std::size_t i = 0; i < desk.items().size(); ++i) {
      const auto sides = *desk.sides(i);
      QCOMPARE(writer(desk.items()[i].a), sides.a == 0 ? 'a' : 'b');
      QCOMPARE(writer(desk.items()[i].b), sides.b == 0 ? 'a' : 'b');
    }
  }
  /// By Qt's hash over lines written here by hand, as docs/architecture.md has it.
  void commitmentCanBeRecomputed() {
    const auto transcripts = std::vector<Transcript>{
        transcript("story-1", {{"original", "caf\xc3\xa9 \"x\""}, {"int4", "plain"}})};
    Desk desk = made(transcripts, with_salt("s"));
    const bool straight = desk.items()[0].b == "plain";
    // moc does not read raw strings that hold such quotes.
    const QByteArray first = QByteArray("'caf\\u00e9 \\'x\\''").replace('\'', '"');
    const QByteArray second = "\"plain\"";
    QByteArray lines =
        "{'models':[{'path':'/models/original','title':'original'},{'path':'/models/int4','title':"
        "'int4'}],'pairs':[[0,1]],'salt':'s','seed':5,'sides':[SIDES]}\n"
        "[['story-1','story','','Prompt of story-1',false,TEXTS,false]]";
    lines.replace('\'', '"');
    lines.replace("SIDES", straight ? "[0,1]" : "[1,0]");
    lines.replace("TEXTS", straight ? first + ',' + second : second + ',' + first);
    lines.prepend("bitlathe blind desk 1\n" + QByteArray::fromStdString(desk.made()) + '\n');
    QCOMPARE(QByteArray::fromStdString(desk.commitment()),
             QCryptographicHash::hash(lines, QCryptographicHash::Sha256).toHex());
  }
  void unsealingIsFinal() {
    Desk desk = made(set_of(), with_salt("s"));
    desk.cast(0, Vote::a);
    desk.cast(1, Vote::b);
    desk.undo();
    desk.unseal();
    const std::string at = desk.unsealed_at();
    QVERIFY(!at.empty());
    desk.cast(0, Vote::b);
    desk.skip(3);
    desk.set_note(0, "late");
    QVERIFY(!desk.undo() && !desk.redo());
    desk.unseal();
    QCOMPARE(desk.unsealed_at(), at);
    QCOMPARE(desk.vote(0), Vote::a);
    QCOMPARE(desk.vote(1), Vote::none);
    QCOMPARE(desk.note(0), std::string());
  }
  void resumed() {
    Desk desk = made(set_of({2}), with_salt("s", {0, 1, 2}));
    for (int i = 0; i < 9; ++i)
      desk.cast(*desk.next(), Vote(1 + i % 4));
    desk.skip(*desk.next());
    desk.set_note(0, "rambles \xe2\x80\xa6");
    desk.undo();
    auto read = desk_from_json(reparsed(desk));
    QVERIFY2(read.ok(), read.ok() ? "" : read.error().text().c_str());
    QCOMPARE(read->tampering(), std::string());
    QCOMPARE(desk_to_json(*read).dump(), desk_to_json(desk).dump());
    QVERIFY(read->can_redo());
    vote_for(*read, 'a');
    read->unseal();
    const auto again = desk_from_json(reparsed(*read));
    QVERIFY(again.ok());
    QCOMPARE(again->tampering(), std::string());
    QCOMPARE(desk_report_json(*again).dump(), desk_report_json(*read).dump());
    // A list of them, of which one is broken.
    std::vector<Desk> both{*read, desk};
    Json list = Json::parse(desks_to_json(both).dump());
    list["desks"].push_back(7);
    std::vector<std::string> notes;
    QCOMPARE(int(desks_from_json(list, &notes).size()), 2);
    QCOMPARE(int(notes.size()), 1);
    QVERIFY(desks_from_json(Json()).empty());
  }
  void tamperingShows() {
    Desk desk = made(set_of(), with_salt("s"));
    vote_for(desk, 'a');
    const Json before = reparsed(desk);
    Json text = before;
    text["items"][0]["a"] = "better";
    QVERIFY(desk_from_json(text).ok() && !desk_from_json(text)->tampering().empty());
    desk.unseal();
    const Json after = reparsed(desk);
    QVERIFY(desk_from_json(after)->tampering().empty());
    Json sides = after;
    std::swap(sides["assignment"]["sides"][0][0], sides["assignment"]["sides"][0][1]);
    QVERIFY(!desk_from_json(sides)->tampering().empty());
    Json models = after;
    std::swap(models["assignment"]["models"][0], models["assignment"]["models"][1]);
    QVERIFY(!desk_from_json(models)->tampering().empty());
    Json votes = after;
    votes["events"][0]["vote"] = votes["events"][0]["vote"] == "a" ? "b" : "a";
    QVERIFY(!desk_from_json(votes)->tampering().empty());
    const auto notes = desk_result(*desk_from_json(votes)).notes;
    QVERIFY(std::find(notes.begin(), notes.end(), desk_from_json(votes)->tampering()) !=
            notes.end());
  }
  /// Every member missing or of another type, one after the other.
  void hostileJson() {
    Desk desk = made(set_of(), with_salt("s"));
    desk.cast(0, Vote::a);
    Desk open = desk;
    open.unseal();
    const Json strange[] = {Json(),
                            Json(-1),
                            Json(1e300),
                            Json("x"),
                            Json(true),
                            Json::array({1, "a", Json()}),
                            Json::object({{"a", 1}})};
    for (const Desk* each : {&desk, &open}) {
      const Json whole = reparsed(*each);
      for (const auto& [key, value] : whole.items()) {
        Json without = whole;
        without.erase(key);
        (void)desk_from_json(without).ok();
        for (const Json& other : strange) {
          Json broken = whole;
          broken[key] = other;
          if (const auto read = desk_from_json(broken); read.ok())
            (void)desk_markdown(*read);
        }
      }
      for (const char* list : {"items", "events"})
        for (const Json& other : strange) {
          Json broken = whole;
          broken[list][0] = other;
          if (const auto read = desk_from_json(broken); read.ok())
            (void)desk_report_json(*read);
        }
    }
    Json seal = reparsed(desk);
    seal["sealed"] = "00ff";
    QVERIFY(!desk_from_json(seal).ok());
    Json event = reparsed(desk);
    event["events"][0]["item"] = 1000;
    QVERIFY(!desk_from_json(event).ok());
    QVERIFY(!desk_from_json(Json(3)).ok());
  }

  // --- results ------------------------------------------------------------------------------

  void counted() {
    Desk desk = made(set_of({24}), with_salt("s"));
    int asked = 0;
    while (const auto item = desk.next()) {
      const bool original_left = writer(desk.items()[*item].a) == 'a';
      const int n = asked++; // 15 for the original, 3 for int4, 2 ties, 1 both bad, 2 left
      desk.cast(*item, n < 15   ? (original_left ? Vote::a : Vote::b)
                       : n < 18 ? (original_left ? Vote::b : Vote::a)
                       : n < 20 ? Vote::tie
                                : Vote::both_bad);
      if (n == 20)
        break;
    }
    desk.unseal();
    const DeskResult result = desk_result(desk);
    QCOMPARE(int(result.pairs.size()), 1);
    const DeskPairResult& pair = result.pairs[0];
    QCOMPARE(pair.counts.first, 15);
    QCOMPARE(pair.counts.second, 3);
    QCOMPARE(pair.counts.ties, 2);
    QCOMPARE(pair.counts.both_bad, 1);
    QCOMPARE(pair.counts.identical, 1);
    QCOMPARE(pair.counts.open, 2);
    QVERIFY(near(pair.p, 2.0 * 988 / 262144)); // 1 + 18 + 153 + 816 of 2^18
    QVERIFY(near(pair.preferred.share, 3.0 / 18));
    QCOMPARE(pair.preferred.exact.low, exact_interval(3, 18).low);
    QVERIFY(near(pair.not_worse.share, 7.0 / 22));
    QVERIFY(pair.distinguishable);
    QVERIFY(pair.verdict.find("original is preferred to int4: 15 of 18 decided votes") == 0);
    QCOMPARE(pair.needed, 14);
    QCOMPARE(int(pair.categories.size()), 2);
    QCOMPARE(pair.categories[0].category, std::string("story"));
    QCOMPARE(pair.categories[0].counts.judged() + pair.categories[0].counts.open, 12);
    QCOMPARE(result.left + result.right, 18);
  }
  void notDistinguishable() {
    Desk desk = made(set_of(), with_salt("s"));
    for (int i = 0; i < 5; ++i)
      desk.cast(*desk.next(), writer(desk.items()[*desk.next()].a) == 'a' ? Vote::a : Vote::b);
    desk.unseal();
    const DeskPairResult pair = desk_result(desk).pairs[0];
    QCOMPARE(pair.counts.first, 5);
    QVERIFY(!pair.distinguishable); // p = 0.0625
    QVERIFY(pair.verdict.find("not distinguishable") != std::string::npos);
    QCOMPARE(pair.needed, 0);
    QVERIFY(pair.power.find("it takes six") != std::string::npos);
  }
  void severalPairsAreAdjusted() {
    DeskOptions options = with_salt("s", {0, 1, 2});
    options.all_pairs = true;
    Desk desk = made(first_of(6), options);
    vote_for(desk, 'a'); // else the right side
    desk.unseal();
    const DeskResult result = desk_result(desk);
    QCOMPARE(int(result.pairs.size()), 3);
    QVERIFY(near(result.pairs[0].p, 0.03125));
    QVERIFY(near(result.pairs[0].p_adjusted, 0.09375));
    QVERIFY(!result.pairs[0].distinguishable);
  }
  void aJudgeWithAHabit() {
    Desk desk = made(set_of(), with_salt("s"));
    while (const auto item = desk.next())
      desk.cast(*item, Vote::a);
    desk.unseal();
    const DeskResult result = desk_result(desk);
    QCOMPARE(result.left, 24);
    QCOMPARE(result.pairs[0].counts.first, 12); // favours nobody
    QVERIFY(std::any_of(result.notes.begin(), result.notes.end(), [](const std::string& note) {
      return note.find("favoured the left side") != std::string::npos;
    }));
  }
  void exported() {
    Desk desk = made(set_of(), with_salt("s"));
    vote_for(desk, 'b');
    desk.set_note(0, "says \"beta\", twice");
    desk.unseal();
    const Json json = Json::parse(desk_report_json(desk).dump());
    QCOMPARE(json["pairs"][0]["votes"]["second"].get<int>(), 24);
    QCOMPARE(int(json["votes"].size()), 24);
    QCOMPARE(json["votes"][0]["preferred"].get<std::string>(), std::string("int4"));
    const std::string csv = desk_csv(desk);
    QCOMPARE(std::count(csv.begin(), csv.end(), '\n'), std::ptrdiff_t(25));
    QVERIFY(csv.find("\"says \"\"beta\"\", twice\"") != std::string::npos);
    const std::string markdown = desk_markdown(desk);
    QVERIFY(markdown.find("int4 is preferred to original: 24 of 24") != std::string::npos);
    QVERIFY(markdown.find("Note: says") != std::string::npos);
  }
};

QTEST_APPLESS_MAIN(TestDesk)
#include "tst_desk.moc"
