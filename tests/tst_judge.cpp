// SPDX-License-Identifier: GPL-3.0-or-later
// Prompts, runs of several models in step, the divergence along a text, transcripts and their
// files.
#include "core/engine/generator.h"
#include "core/io/files.h"
#include "core/job/quantize.h"
#include "core/judge/divergence_along.h"
#include "core/judge/outcome.h"
#include "core/judge/runs.h"
#include "core/judge/token_text.h"
#include "core/judge/transcript_files.h"
#include "core/text/tokenizer.h"
#include "tests/support.h"

#include <cmath>
#include <functional>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;

namespace {

constexpr const char* lily = "Once upon a time, there was a little girl named Lily.";

Pieces words(const char* text) {
  Pieces out;
  for (const auto& word : QByteArray(text).split(' '))
    out.push_back(word.toStdString());
  return out;
}

std::string why(const Error& error) { return error.code + ": " + error.text(); }

} // namespace

class TestJudge : public QObject {
  Q_OBJECT

  QTemporaryDir dir_;
  std::unique_ptr<Compute> cpu_;
  std::shared_ptr<const Checkpoint> demo_, small_;
  std::unique_ptr<Engine> demo_engine_, small_engine_;

  std::vector<RunModel> models() {
    return {{"original", demo_, [this] { return Result<Engine*>(demo_engine_.get()); }},
            {"int3", small_, [this] { return Result<Engine*>(small_engine_.get()); }}};
  }
  fs::path path(const char* name) const { return fs::path(dir_.path().toStdString()) / name; }

 private Q_SLOTS:
  void initTestCase() {
    QVERIFY(dir_.isValid());
    auto cpu = make_cpu_compute();
    QVERIFY(cpu.ok());
    cpu_ = std::move(*cpu);
    auto demo = open_checkpoint(test::demo_model());
    QVERIFY(demo.ok());
    demo_ = *demo;
    Recipe recipe;
    recipe.default_scheme = "int3-g128-asym";
    const auto plan = make_plan(*demo_, recipe);
    QVERIFY(plan.ok());
    QuantizeOptions options;
    options.result_folder = path("int3");
    Feedback feedback;
    QVERIFY(run_quantize(*demo_, *plan, *cpu_, options, feedback).ok());
    auto small = open_checkpoint(path("int3"));
    QVERIFY(small.ok());
    small_ = *small;
    auto a = Engine::create(demo_, *cpu_), b = Engine::create(small_, *cpu_);
    QVERIFY(a.ok() && b.ok());
    demo_engine_ = std::move(*a);
    small_engine_ = std::move(*b);
  }

  // --- prompts ----------------------------------------------------------------------------------

  void promptsOfLines() {
    const auto read =
        parse_prompts("\xef\xbb\xbf{\"id\": 7, \"prompt\": \"One\", \"category\": \"c\"}\r\n\n"
                      "{\"text\": \"Two\\nlines\"}\n"
                      "{\"question_id\": \"x\", \"turns\": [\"Three\", \"more\"]}\n"
                      "\"Four\"\n"
                      "{\"id\": 7, \"messages\": [{\"role\": \"system\", \"content\": \"s\"}, "
                      "{\"role\": \"user\", \"content\": \"Five\"}]}\n"
                      "{\"instruction\": \"Six\", \"input\": \"with this\"}",
                      "/some/where/set.v2.jsonl");
    QVERIFY2(read.ok(), read.ok() ? "" : why(read.error()).c_str());
    QCOMPARE(read->name, std::string("set.v2"));
    std::vector<std::string> ids, texts;
    for (const Prompt& prompt : read->prompts) {
      ids.push_back(prompt.id);
      texts.push_back(prompt.text);
    }
    QCOMPARE(texts, (std::vector<std::string>{"One", "Two\nlines", "Three", "Four", "Five",
                                              "Six\n\nwith this"}));
    QCOMPARE(ids, (std::vector<std::string>{"7", "2", "x", "4", "7-2", "6"}));
    QCOMPARE(read->prompts[0].kind, std::string("c"));
  }
  void promptsOfText() {
    const auto lines = parse_prompts("  First one \nSecond\r\nThird", "a.txt");
    QVERIFY(lines.ok());
    QCOMPARE(lines->prompts.size(), std::size_t(3));
    QCOMPARE(lines->prompts[0].text, std::string("  First one "));
    QCOMPARE(lines->prompts[1].text, std::string("Second"));
    QVERIFY(lines->notes[0].find("line") != std::string::npos);
    const auto blocks = parse_prompts("\n\nFirst\nof two lines\n \n\n\tcode\n\nThird\n\n", "A.TXT");
    QVERIFY(blocks.ok());
    QCOMPARE(blocks->prompts.size(), std::size_t(3));
    QCOMPARE(blocks->prompts[0].text, std::string("First\nof two lines"));
    QCOMPARE(blocks->prompts[1].text, std::string("\tcode"));
    const auto one = parse_prompts("Only one\n", "one.txt");
    QVERIFY(one.ok() && one->prompts.size() == 1 && one->notes.empty());
  }
  void promptsOfLists() {
    const auto list = parse_prompts("[\"One\", {\"prompt\": \"Two\"}]", "a.json");
    QVERIFY(list.ok() && list->prompts.size() == 2);
    const auto object = parse_prompts("{\"prompts\": [{\"text\": \"One\"}]}", "a.json");
    QVERIFY(object.ok() && object->prompts.size() == 1);
    QVERIFY(!parse_prompts("{\"other\": []}", "a.json").ok());
    QVERIFY(!parse_prompts("7", "a.json").ok());
  }
  void badPrompts_data() {
    QTest::addColumn<QByteArray>("content");
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("says");
    QTest::newRow("broken") << QByteArray("{\"prompt\": \"One\"}\n{\"prompt\": \n") << "a.jsonl"
                            << "Line 2";
    QTest::newRow("no prompt") << QByteArray("{\"other\": 1}") << "a.jsonl"
                               << "Line 1";
    QTest::newRow("a number") << QByteArray("3") << "a.jsonl"
                              << "Line 1";
    QTest::newRow("blank") << QByteArray("{\"prompt\": \" \\n\"}") << "a.jsonl"
                           << "Line 1";
    QTest::newRow("odd turns") << QByteArray("{\"turns\": [{\"a\": 1}], \"prompt\": [3]}")
                               << "a.jsonl"
                               << "Line 1";
    QTest::newRow("nothing") << QByteArray("\n\n") << "a.jsonl"
                             << "no prompt";
    QTest::newRow("nothing as text") << QByteArray(" \n") << "a.txt"
                                     << "no prompt";
    QTest::newRow("latin-1") << QByteArray("Gr\xfc\xdf") << "a.txt"
                             << "UTF-8";
    QTest::newRow("binary") << QByteArray("a\0b", 3) << "a.txt"
                            << "zero";
    QTest::newRow("deep") << QByteArray(100000, '[') << "a.jsonl"
                          << "Line 1";
  }
  void badPrompts() {
    QFETCH(QByteArray, content);
    QFETCH(QString, name);
    QFETCH(QString, says);
    const auto read = parse_prompts(content.toStdString(), name.toStdString());
    QVERIFY(!read.ok());
    QVERIFY2(QString::fromStdString(read.error().text()).contains(says), why(read.error()).c_str());
    QCOMPARE(read.error().where, name.toStdString());
  }
  void shippedPrompts() {
    const auto demo = read_prompts(test::demo_model() / "prompts.jsonl");
    QVERIFY(demo.ok() && demo->prompts.size() == 24);
    const auto general = read_prompts(test::source_dir() / "resources/prompts/general.jsonl");
    QVERIFY2(general.ok(), general.ok() ? "" : why(general.error()).c_str());
    QCOMPARE(general->prompts.size(), std::size_t(40));
    std::map<std::string, int> kinds;
    for (const Prompt& prompt : general->prompts)
      ++kinds[prompt.kind];
    QVERIFY(kinds.size() >= 10 && kinds.find("") == kinds.end());
    QVERIFY(!read_prompts("/nowhere/set.jsonl").ok());
  }

  // --- differences ------------------------------------------------------------------------------

  void divergence_data() {
    QTest::addColumn<QString>("reference");
    QTest::addColumn<bool>("reference_done");
    QTest::addColumn<QString>("candidate");
    QTest::addColumn<bool>("candidate_done");
    QTest::addColumn<int>("at");
    QTest::newRow("same") << "a b c" << true << "a b c" << true << -1;
    QTest::newRow("first") << "a b c" << true << "x b c" << true << 0;
    QTest::newRow("last") << "a b c" << true << "a b x" << true << 2;
    QTest::newRow("candidate still running") << "a b c" << true << "a b" << false << -1;
    QTest::newRow("candidate ended early") << "a b c" << true << "a b" << true << 2;
    QTest::newRow("reference ended early") << "a b" << true << "a b c" << false << 2;
    QTest::newRow("reference still running") << "a b" << false << "a b c" << true << -1;
    QTest::newRow("differs while running") << "a b" << false << "a x c" << false << 1;
  }
  void divergence() {
    QFETCH(QString, reference);
    QFETCH(bool, reference_done);
    QFETCH(QString, candidate);
    QFETCH(bool, candidate_done);
    QFETCH(int, at);
    QCOMPARE(int(first_divergence(words(qPrintable(reference)), reference_done,
                                  words(qPrintable(candidate)), candidate_done)),
             at);
  }
  void divergenceOfNothing() {
    QCOMPARE(first_divergence({}, true, {}, true), std::int64_t(-1));
    QCOMPARE(first_divergence({}, true, {"a"}, true), std::int64_t(0));
    QCOMPARE(first_divergence({}, false, {"a"}, true), std::int64_t(-1));
  }
  void agreementFindsCommonWords() {
    const Agreement a = agreement(words("the red kite flew away"), words("the blue kite flew"));
    QCOMPARE(a.reference, (std::vector<bool>{true, false, true, true, false}));
    QCOMPARE(a.candidate, (std::vector<bool>{true, false, true, true}));
    QCOMPARE(a.share, 0.6);
    QCOMPARE(agreement({}, {}).share, 1.0);
  }
  /// Against a slow oracle: the longest common subsequence by trying everything. A difference puts
  /// both sides together again.
  void agreementIsLongest() {
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
      Pieces a, b;
      for (int i = int(random() % 9); i > 0; --i)
        a.emplace_back(1, char('a' + random() % 3));
      for (int i = int(random() % 9); i > 0; --i)
        b.emplace_back(1, char('a' + random() % 3));
      const std::function<int(std::size_t, std::size_t)> longest = [&](std::size_t i,
                                                                       std::size_t j) -> int {
        if (i == a.size() || j == b.size())
          return 0;
        if (a[i] == b[j])
          return 1 + longest(i + 1, j + 1);
        return std::max(longest(i + 1, j), longest(i, j + 1));
      };
      const Agreement shared = agreement(a, b);
      const auto count = [](const std::vector<bool>& flags) {
        return int(std::count(flags.begin(), flags.end(), true));
      };
      QCOMPARE(count(shared.reference), longest(0, 0));
      QCOMPARE(count(shared.candidate), longest(0, 0));
      QCOMPARE(int(common_pieces(a, b)), longest(0, 0));
      Pieces left, right;
      DiffRun::Kind before = DiffRun::Kind::same;
      bool first = true;
      for (const DiffRun& run : difference(a, b)) {
        if (run.kind != DiffRun::Kind::inserted)
          left.insert(left.end(), a.begin() + std::ptrdiff_t(run.reference_begin),
                      a.begin() + std::ptrdiff_t(run.reference_end));
        if (run.kind != DiffRun::Kind::removed)
          right.insert(right.end(), b.begin() + std::ptrdiff_t(run.candidate_begin),
                       b.begin() + std::ptrdiff_t(run.candidate_end));
        if (run.kind == DiffRun::Kind::same)
          for (std::size_t i = 0; i < run.reference_end - run.reference_begin; ++i)
            QCOMPARE(a[run.reference_begin + i], b[run.candidate_begin + i]);
        QVERIFY(first || run.kind != before || run.kind == DiffRun::Kind::same);
        before = run.kind;
        first = false;
      }
      QCOMPARE(left, a);
      QCOMPARE(right, b);
    }
  }
  /// Over several words of bits.
  void commonPiecesOfLongTexts() {
    std::mt19937 random(3);
    for (const int size : {63, 64, 65, 500, 1100}) {
      Pieces a, b;
      for (int i = 0; i < size; ++i) {
        a.emplace_back(1, char('a' + random() % 9));
        b.emplace_back(random() % 4 ? a.back() : std::string(1, char('a' + random() % 9)));
      }
      b.resize(b.size() - std::size_t(size) / 7);
      QCOMPARE(double(common_pieces(a, b)) / double(a.size()), agreement(a, b).share);
      QCOMPARE(common_pieces(a, b), common_pieces(b, a));
    }
    QCOMPARE(common_pieces({}, {"a"}), std::size_t(0));
  }
  void wordsAreTheWholeText() {
    QCOMPARE(words_of("He said: \"It's 3 o'clock\".\n\n"),
             (Pieces{"He", " said", ":", " \"", "It", "'", "s", " 3", " o", "'", "clock", "\"", ".",
                     "\n\n"}));
    for (const std::string text : {"", " ", "a", "\xc3\xa4h  b\tc", "x\n"}) {
      std::string whole;
      for (const std::string& word : words_of(text))
        whole += word;
      QCOMPARE(whole, text);
    }
  }

  // --- text of tokens ---------------------------------------------------------------------------

  void charactersOverSeveralTokens() {
    Utf8Stream stream;
    QCOMPARE(stream.push("a\xe2"), std::string("a"));
    QCOMPARE(stream.push("\x82"), std::string());
    QCOMPARE(stream.push("\xac!"), std::string("\xe2\x82\xac!"));
    QCOMPARE(stream.push("\xf0\x9f"), std::string());
    QCOMPARE(stream.finish(), std::string("\xef\xbf\xbd"));
    QCOMPARE(stream.finish(), std::string());
    QCOMPARE(stream.push("\xff"), std::string("\xef\xbf\xbd")); // starts nothing
    QCOMPARE(texts_of({"\xe2", "\x82\xac", "b\xf0"}),
             (std::vector<std::string>{"", "\xe2\x82\xac", "b\xef\xbf\xbd"}));
    QCOMPARE(piece_text(" dog"), std::string(" dog"));
    QCOMPARE(piece_text("\xe2\x82"), std::string("<E2><82>"));
    QCOMPARE(visible_text(" a\n"), std::string("\xe2\x90\xa3"
                                               "a\xe2\x86\xb5"));
  }

  // --- runs -------------------------------------------------------------------------------------

  void runsWriteWhatGenerateWrites_data() {
    QTest::addColumn<double>("temperature");
    QTest::newRow("greedy") << 0.0;
    QTest::newRow("drawn") << 0.9;
  }
  void runsWriteWhatGenerateWrites() {
    QFETCH(double, temperature);
    RunOptions options;
    options.sampling = {temperature, 0.95, 40, 24, 11};
    options.set = "a set";
    std::vector<std::vector<std::int32_t>> streamed(2);
    std::vector<std::size_t> order;
    std::vector<int> ended(2), measured(2), begun(2);
    RunSink sink;
    sink.begun = [&](std::size_t side, const TranscriptSide&) { ++begun[side]; };
    sink.token = [&](std::size_t side, const GenerateStep& step, double) {
      streamed[side].push_back(step.id);
      order.push_back(side);
    };
    sink.ended = [&](std::size_t side, const TranscriptSide& what) {
      ++ended[side];
      QVERIFY(what.complete());
    };
    sink.measured = [&](std::size_t side, const TranscriptSide&) { ++measured[side]; };
    Feedback feedback;
    const Transcript transcript = run_prompt(models(), {"3", lily, {}}, options, feedback, sink);
    QCOMPARE(transcript.sides.size(), std::size_t(2));
    QCOMPARE(transcript.prompt_id, std::string("3"));
    QCOMPARE(transcript.set, std::string("a set"));
    QVERIFY(transcript.complete());
    QCOMPARE(begun, (std::vector<int>{1, 1}));
    QCOMPARE(ended, (std::vector<int>{1, 1}));
    QCOMPARE(measured, (std::vector<int>{0, 1}));
    QCOMPARE(feedback.done.load(), feedback.total.load());

    Engine* engines[] = {demo_engine_.get(), small_engine_.get()};
    for (std::size_t i = 0; i < 2; ++i) {
      GenerateOptions alone;
      alone.prompt = demo_->tokenizer->encode(lily);
      alone.max_new = 24;
      alone.sampling = {float(temperature), 40, 0.95f, 11};
      alone.logprobs = 5;
      Feedback quiet;
      const auto generated = generate(*engines[i], alone, quiet);
      QVERIFY(generated.ok());
      const TranscriptSide& side = transcript.sides[i];
      QCOMPARE(side.ids, generated->tokens);
      QCOMPARE(streamed[i], generated->tokens);
      QCOMPARE(side.stop_reason, generated->stop_reason);
      QCOMPARE(side.text, demo_->tokenizer->decode(generated->tokens));
      QCOMPARE(side.prompt_tokens, std::int64_t(alone.prompt.size()));
      std::size_t at = 0;
      for (const GenerateStep& step : generated->steps) {
        if (step.prompt)
          continue;
        // With the prompt's logits asked for, products have other shapes and other roundings.
        const auto near = [](double a, double b) { return std::fabs(a - b) < 1e-5 * (1 - b); };
        QVERIFY(near(side.logprobs[at], *step.logprob));
        QCOMPARE(side.top[at].size(), step.top.size());
        for (std::size_t k = 0; k < step.top.size(); ++k) {
          QCOMPARE(side.top[at][k].id, step.top[k].id);
          QVERIFY(near(side.top[at][k].logprob, step.top[k].logprob));
          QCOMPARE(side.pieces.at(step.top[k].id), demo_->tokenizer->piece(step.top[k].id));
        }
        ++at;
      }
      QVERIFY(side.peak_bytes > side.kv_bytes && side.kv_bytes > 0);
      QVERIFY(side.seconds > 0 && side.prompt_seconds > 0);
    }
    // In step: one token of each in turn.
    for (std::size_t i = 0; i + 1 < std::min<std::size_t>(order.size(), 24); i += 2)
      QVERIFY(order[i] == 0 && order[i + 1] == 1);
    QVERIFY(is_run_already(transcript, {"other", lily, {}}, models(), options));
    options.sampling.seed = 12;
    QVERIFY(!is_run_already(transcript, {"3", lily, {}}, models(), options));
  }

  /// KL and log-probabilities from logits that are computed one position at a time.
  void divergenceAlongTheReference() {
    RunOptions options;
    options.sampling.max_new = 20;
    Feedback feedback;
    const Transcript transcript = run_prompt(models(), {"1", lily, {}}, options, feedback);
    const TranscriptSide &reference = transcript.sides[0], &side = transcript.sides[1];
    QVERIFY2(side.kl_problem.empty(), side.kl_problem.c_str());
    QVERIFY(reference.kl.empty());
    QCOMPARE(side.kl.size(), reference.ids.size());
    auto ids = demo_->tokenizer->encode(lily);
    const auto next = [&](Engine& engine) {
      std::vector<double> out(std::size_t(engine.spec().vocab));
      auto sequence = engine.new_sequence(std::int64_t(ids.size()));
      const auto sink = [&](std::int64_t, std::span<const float> logits) -> Result<void> {
        log_softmax(logits, out);
        return {};
      };
      const auto done = engine.forward(**sequence, ids, std::int64_t(ids.size()) - 1, sink);
      return done.ok() ? out : std::vector<double>();
    };
    double sum = 0;
    for (std::size_t i = 0; i < reference.ids.size(); ++i) {
      const auto p = next(*demo_engine_), q = next(*small_engine_);
      double kl = 0;
      for (std::size_t v = 0; v < p.size(); ++v)
        kl += std::exp(p[v]) * (p[v] - q[v]);
      QVERIFY2(std::fabs(side.kl[i] - kl) < 1e-4 * (1 + kl),
               qPrintable(QStringLiteral("%1: %2 %3").arg(i).arg(side.kl[i]).arg(kl)));
      const auto id = std::size_t(reference.ids[i]);
      QVERIFY(std::fabs(side.forced_logprobs[i] - q[id]) < 1e-3 * (1 + std::fabs(q[id])));
      sum += side.kl[i];
      ids.push_back(reference.ids[i]);
    }
    QVERIFY(sum > 0);
    // Itself against itself is nothing at all.
    Engine* same[] = {demo_engine_.get()};
    const auto none = divergence_along(*demo_engine_, same, demo_->tokenizer->encode(lily),
                                       reference.ids, feedback);
    QVERIFY(none.ok());
    for (const double kl : (*none)[0].kl)
      QVERIFY(std::fabs(kl) < 1e-9);
    const Outcome outcome = outcome_of(transcript);
    QVERIFY(outcome.known);
    QVERIFY(std::fabs(outcome.kl_mean - sum / double(side.kl.size())) < 1e-12);
    QCOMPARE(outcome.kl_max, *std::max_element(side.kl.begin(), side.kl.end()));
    QVERIFY(outcome.parts_at >= 0); // three bits do not keep this text
  }

  /// Turns of several tokens, for models that do not fit into memory together: the same texts.
  void longTurnsWriteTheSame() {
    RunOptions options;
    options.sampling.max_new = 20;
    Feedback feedback;
    const Transcript in_step = run_prompt(models(), {{}, lily, {}}, options, feedback);
    const std::uint64_t bytes = demo_->bytes() + small_->bytes();
    QCOMPARE(tokens_in_turn(models(), 0), 1);
    QCOMPARE(tokens_in_turn(models(), bytes), 1);
    options.turn = tokens_in_turn(models(), bytes - 1);
    QVERIFY(options.turn > 1);
    const Transcript in_turns = run_prompt(models(), {{}, lily, {}}, options, feedback);
    for (std::size_t i = 0; i < 2; ++i)
      QCOMPARE(in_turns.sides[i].ids, in_step.sides[i].ids);
  }

  void oneFailureDoesNotStopTheOthers() {
    auto list = models();
    list.push_back({"gone", nullptr, {}});
    list.push_back({"too large", small_, [] {
                      return Result<Engine*>(Error{"out-of-memory", "There is no room", "/x"});
                    }});
    RunOptions options;
    options.sampling.max_new = 6;
    Feedback feedback;
    const Transcript transcript = run_prompt(list, {{}, lily, {}}, options, feedback);
    QCOMPARE(transcript.sides.size(), std::size_t(4));
    QVERIFY(transcript.sides[0].complete() && transcript.sides[1].complete());
    QVERIFY(transcript.sides[2].failed() && !transcript.sides[2].complete());
    QVERIFY(transcript.sides[3].problem.find("no room") != std::string::npos);
    QVERIFY(transcript.complete());
    QCOMPARE(feedback.done.load(), feedback.total.load());
    // Nor does that of the reference.
    std::swap(list[0], list[3]);
    const Transcript other = run_prompt(list, {{}, lily, {}}, options, feedback);
    QVERIFY(other.sides[0].failed() && other.sides[1].complete() && other.sides[1].kl.empty());
    QCOMPARE(other.sides[1].ids, transcript.sides[1].ids);
    // Sampling that makes no sense is a problem of every side, not a crash.
    options.sampling.top_p = 0;
    const Transcript wrong = run_prompt(models(), {{}, lily, {}}, options, feedback);
    QVERIFY(wrong.sides[0].failed() && wrong.sides[1].failed());
  }

  void aStopKeepsWhatIsThereAndTheSetGoesOn() {
    const std::vector<Prompt> prompts{{"1", lily, {}}, {"2", "One day,", {}}, {"3", "Max and", {}}};
    RunOptions options;
    options.sampling.max_new = 8;
    Feedback feedback;
    std::vector<Transcript> done;
    RunSink sink;
    int tokens = 0;
    std::size_t current = 99;
    sink.prompt_begun = [&](std::size_t i) { current = i; };
    sink.token = [&](std::size_t, const GenerateStep&, double) {
      if (current == 1 && ++tokens == 5)
        feedback.stop = true;
    };
    sink.prompt_done = [&](std::size_t, const Transcript& t) { done.push_back(t); };
    const auto run = run_prompts(models(), prompts, options, feedback, sink);
    QVERIFY(!run.ok() && run.error().cancelled());
    QCOMPARE(done.size(), std::size_t(2));
    QVERIFY(done[0].complete() && !done[1].complete());
    QCOMPARE(done[1].sides[0].stop_reason, std::string("stopped"));
    QCOMPARE(done[1].sides[0].ids.size() + done[1].sides[1].ids.size(), std::size_t(5));
    QVERIFY(done[1].sides[1].kl.empty());

    // What is still to do is what a new run does.
    std::vector<Prompt> left;
    for (const Prompt& prompt : prompts)
      if (std::none_of(done.begin(), done.end(), [&](const Transcript& t) {
            return is_run_already(t, prompt, models(), options);
          }))
        left.push_back(prompt);
    QCOMPARE(left.size(), std::size_t(2));
    Feedback again;
    std::vector<Transcript> rest;
    sink = {};
    sink.prompt_done = [&](std::size_t, const Transcript& t) { rest.push_back(t); };
    QVERIFY(run_prompts(models(), left, options, again, sink).ok());
    QCOMPARE(again.done.load(), again.total.load());
    Feedback whole;
    std::vector<Transcript> all;
    sink.prompt_done = [&](std::size_t, const Transcript& t) { all.push_back(t); };
    QVERIFY(run_prompts(models(), prompts, options, whole, sink).ok());
    QCOMPARE(rest[0].sides[1].ids, all[1].sides[1].ids);
    QCOMPARE(rest[1].sides[0].text, all[2].sides[0].text);
  }

  // --- transcripts ------------------------------------------------------------------------------

  void transcriptsComeBackFromFiles() {
    RunOptions options;
    options.sampling = {0.8, 0.9, 50, 12, 18446744073709551615ull};
    options.set = "demo";
    Feedback feedback;
    auto list = models();
    list.push_back({"gone", nullptr, {}});
    std::vector<Transcript> made{run_prompt(list, {"1", lily, {}}, options, feedback),
                                 run_prompt(list, {"2", "Say ```\n<b>&", {}}, options, feedback)};
    made[0].sides[0].title = "broken \xff title";
    made[0].sides[0].pieces[9999] = "\xe2\x82";
    const auto json = transcripts_document(made, "demo");
    const fs::path file = path("t.json");
    const auto wrote = write_transcripts(made, "demo", file);
    QVERIFY2(wrote.ok(), wrote.ok() ? "" : why(wrote.error()).c_str());
    const auto back = read_transcripts(file);
    QVERIFY(back.ok());
    QCOMPARE(back->size(), made.size());
    for (std::size_t i = 0; i < made.size(); ++i) {
      QVERIFY((*back)[i].sampling == made[i].sampling);
      QCOMPARE((*back)[i].set, made[i].set);
      for (std::size_t k = 0; k < 3; ++k) {
        const TranscriptSide &a = (*back)[i].sides[k], &b = made[i].sides[k];
        QCOMPARE(a.ids, b.ids);
        QCOMPARE(a.text, b.text);
        QCOMPARE(a.logprobs, b.logprobs);
        QCOMPARE(a.top, b.top);
        QCOMPARE(a.pieces, b.pieces);
        QCOMPARE(a.kl, b.kl);
        QCOMPARE(a.forced_logprobs, b.forced_logprobs);
        QCOMPARE(a.problem, b.problem);
        QCOMPARE(a.kv_bytes, b.kv_bytes);
      }
      QCOMPARE(outcome_of((*back)[i]).kl_mean, outcome_of(made[i]).kl_mean);
    }
    QVERIFY(json["summary"].size() == 2);
    QVERIFY(!read_transcripts(path("none.json")).ok());
    QVERIFY(!write_transcripts(made, "demo", path("t.doc")).ok());

    QVERIFY(write_transcripts(made, "demo", path("t.md")).ok());
    const std::string markdown = *read_file(path("t.md"));
    QVERIFY(markdown.find("````text\nSay ```\n<b>&\n````") != std::string::npos);
    QVERIFY(markdown.find("Could not go on: This checkpoint is not open.") != std::string::npos);
    QVERIFY(write_transcripts(made, "demo", path("t.html")).ok());
    const std::string html = *read_file(path("t.html"));
    QVERIFY(html.find("Say ```\n<b>&") == std::string::npos);
    QVERIFY(html.find("&lt;b&gt;&amp;") != std::string::npos);
    for (const char* outside : {"<script", "http://", "https://", "src="})
      QVERIFY(html.find(outside) == std::string::npos);
  }
  void hostileTranscripts() {
    for (const char* text :
         {"[]", "{}", "[{\"prompt\": \"a\", \"sides\": 3}]",
          "[{\"prompt\": \"a\", \"sides\": [{\"ids\": [1, \"x\", 99999999999, -1], \"top\": "
          "[[1], [2, null], 3, [\"a\", 1]], \"pieces\": {\"x\": 1, \"1\": [300, \"b\"], "
          "\"99999999999999\": \"y\"}, \"kl\": [null, \"x\", 1], \"kv_bytes\": -4}]}]",
          "[{\"prompt\": \"a\", \"sides\": [{\"ids\": [5], \"stop_reason\": \"eos\"}, {\"ids\": "
          "[6], \"stop_reason\": \"eos\", \"kl\": [null]}]}]"}) {
      const auto read = transcripts_from_json(Json::parse(text));
      transcripts_html(read, "x");
      transcripts_markdown(read, "x");
      transcripts_document(read, "x");
      for (const Transcript& t : read)
        for (std::size_t side = 0; side < 3; ++side)
          outcome_of(t, side);
    }
  }
  void outcomesOfASet() {
    const auto side = [](std::vector<std::int32_t> ids, std::vector<double> kl) {
      TranscriptSide out;
      out.ids = std::move(ids);
      for (const std::int32_t id : out.ids)
        out.pieces[id] = std::to_string(id) + " ";
      out.kl = std::move(kl);
      out.stop_reason = "length";
      return out;
    };
    std::vector<Transcript> set(3);
    set[0].sides = {side({1, 2, 3}, {}), side({1, 2, 3}, {0.1, 0.2, 0.3})};
    set[1].sides = {side({1, 2, 3}, {}), side({1, 4, 3}, {0.5, 1.0, 1.5})};
    set[2].sides = {side({1}, {}), side({1}, {})};
    set[2].sides[1].problem = "no";
    set[2].sides[1].stop_reason.clear();
    const Outcome parts = outcome_of(set[1]);
    QCOMPARE(parts.parts_at, std::int64_t(1));
    QCOMPARE(parts.kl_mean, 1.0);
    QCOMPARE(parts.kl_mean_common, 0.75);
    QCOMPARE(parts.kl_max_at, std::int64_t(2));
    QVERIFY(std::fabs(parts.shared - 2.0 / 3) < 1e-12);
    const SetOutcome all = outcome_of(set);
    QCOMPARE(all.prompts, std::int64_t(2));
    QCOMPARE(all.same, std::int64_t(1));
    QCOMPARE(all.failed, std::int64_t(1));
    QCOMPARE(all.median_parts_at, std::int64_t(1));
    QVERIFY(std::fabs(all.kl_mean - 0.6) < 1e-12);
    QVERIFY(std::fabs(all.kl_stderr - 0.4) < 1e-12); // (0.8 / sqrt 2) / sqrt 2
    // Wilson's interval of 1 in 2: (0.0945, 0.9055).
    QVERIFY(std::fabs(all.same_low - 0.09453) < 1e-4);
    QVERIFY(std::fabs(all.same_high - 0.90547) < 1e-4);
  }
};

QTEST_MAIN(TestJudge)
#include "tst_judge.moc"
