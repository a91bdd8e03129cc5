// SPDX-License-Identifier: GPL-3.0-or-later
// Task metrics against published figures and sums by hand, and likelihoods against the steps of a
// generation.
#include "core/chat/chat.h"
#include "core/eval/numbers.h"
#include "core/eval/task_report.h"
#include "core/eval/task_runs.h"
#include "core/eval/tasks.h"
#include "core/eval/text_scores.h"
#include "core/text/tokenizer.h"
#include "tests/support.h"

#include <fstream>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

bool near(double a, double b, double by = 1e-9) { return std::fabs(a - b) <= by; }

Result<std::vector<TaskItem>> items_of(const char* kind, const std::string& lines,
                                       std::int64_t shots = 0) {
  QTemporaryDir dir;
  const std::string path = (dir.path() + "/tasks.jsonl").toStdString();
  std::ofstream(path) << lines;
  return read_tasks(*find_task_kind(kind), path, shots);
}

std::vector<ItemScore> scores_of(std::initializer_list<double> values) {
  std::vector<ItemScore> out;
  for (const double value : values)
    out.push_back({value, {}, {}});
  return out;
}

} // namespace

class TestTasks : public QObject {
  Q_OBJECT
  std::shared_ptr<const Checkpoint> demo_;
  std::unique_ptr<Compute> cpu_;
  std::unique_ptr<Engine> engine_;
  Feedback feedback_;

  Result<ItemScore> score(const char* kind, const TaskItem& item, std::int64_t max_new = 0) {
    return find_task_kind(kind)->score(*engine_, item, {max_new}, feedback_);
  }

 private Q_SLOTS:
  void initTestCase() {
    cpu_ = std::move(*make_cpu_compute());
    demo_ = *open_checkpoint(demo_model());
    auto engine = Engine::create(demo_, *cpu_);
    QVERIFY(engine.ok());
    engine_ = std::move(*engine);
  }

  void wilson() {
    // R: prop.test(8, 10, correct = FALSE), prop.test(0, 20, ...), prop.test(99, 128, ...)
    const Interval a = wilson_interval(8, 10), b = wilson_interval(0, 20);
    QVERIFY(near(a.low, 0.4901625, 1e-6) && near(a.high, 0.9433178, 1e-6));
    QVERIFY(b.low == 0 && near(b.high, 0.1611252, 1e-6));
    const Interval c = wilson_interval(99, 128);
    QVERIFY(c.low < 99.0 / 128 && c.high > 99.0 / 128 && c.high - c.low < 0.15);
  }

  void mcnemar() {
    const auto items = [](int both, int only_a, int only_b, int none) {
      std::pair<std::vector<bool>, std::vector<bool>> out;
      const auto add = [&](int n, bool a, bool b) {
        out.first.insert(out.first.end(), std::size_t(n), a);
        out.second.insert(out.second.end(), std::size_t(n), b);
      };
      add(both, true, true);
      add(only_a, true, false);
      add(only_b, false, true);
      add(none, false, false);
      return out;
    };
    const auto p = [&](int only_a, int only_b) {
      const auto [a, b] = items(7, only_a, only_b, 5);
      return mcnemar_p(a, b);
    };
    QCOMPARE(p(0, 0), 1.0);
    QVERIFY(near(p(5, 0), 2.0 / 32, 1e-12));
    QVERIFY(near(p(1, 7), 2 * (1 + 8) / 256.0, 1e-12));
    QVERIFY(near(p(7, 1), p(1, 7), 1e-15));
    QCOMPARE(p(4, 4), 1.0);
  }

  /// All 2^n swaps of a few items can be counted; the random ones come near that share.
  void randomization() {
    const std::vector<double> a{0.9, 0.2, 0.7, 0.8, 0.5, 0.9, 0.6, 0.4},
        b{0.5, 0.3, 0.2, 0.6, 0.4, 0.1, 0.5, 0.5};
    const auto difference = [&](const std::vector<bool>& swapped) {
      double sum = 0;
      for (std::size_t i = 0; i < a.size(); ++i)
        sum += swapped[i] ? b[i] - a[i] : a[i] - b[i];
      return sum;
    };
    const double seen = std::fabs(difference(std::vector<bool>(a.size(), false)));
    int as_large = 0;
    for (unsigned bits = 0; bits < 256; ++bits) {
      std::vector<bool> swapped;
      for (unsigned i = 0; i < 8; ++i)
        swapped.push_back(bits >> i & 1);
      as_large += std::fabs(difference(swapped)) >= seen - 1e-9;
    }
    QVERIFY(near(randomization_p(a.size(), difference), as_large / 256.0, 0.02));
    QCOMPARE(randomization_p(8, [](const auto&) { return 0.0; }), 1.0);
  }

  /// Of a mean of many items the bootstrap is near the normal interval.
  void bootstrap() {
    std::vector<ItemScore> scores;
    double sum = 0, squares = 0;
    for (int i = 0; i < 400; ++i) {
      const double value = double((i * 37) % 101) / 100;
      sum += value;
      squares += value * value;
      scores.push_back({value, {}, {}});
    }
    const double mean = sum / 400, deviation = std::sqrt((squares / 400 - mean * mean) / 400);
    const TaskFigure figure = figure_of(*find_task_kind("rouge-l"), scores);
    QVERIFY(near(figure.value, mean));
    QVERIFY(near(figure.interval.low, mean - 1.96 * deviation, 0.15 * deviation));
    QVERIFY(near(figure.interval.high, mean + 1.96 * deviation, 0.15 * deviation));
    const TaskFigure right = figure_of(*find_task_kind("exact-match"), scores_of({1, 0, 1, 1}));
    QCOMPARE(right.value, 0.75);
    QVERIFY(near(right.interval.low, wilson_interval(3, 4).low));
  }

  /// The example of sacreBLEU's documentation: 48.53 82.4/50.0/45.5/37.5 (BP 0.943, 17 and 18
  /// words).
  void corpusBleu() {
    const std::vector<std::string> said{"The dog bit the man.", "It wasn't surprising.",
                                        "The man had just bitten him."};
    const std::vector<std::vector<std::string>> references{
        {"The dog bit the man.", "The dog had bit the man."},
        {"It was not unexpected.", "No one was surprised."},
        {"The man bit him first.", "The man had bitten the dog."}};
    BleuCounts sum;
    for (std::size_t i = 0; i < said.size(); ++i) {
      const BleuCounts counts = bleu_counts(said[i], references[i]);
      for (std::size_t n = 0; n < 4; ++n) {
        sum.right[n] += counts.right[n];
        sum.all[n] += counts.all[n];
      }
      sum.words += counts.words;
      sum.reference_words += counts.reference_words;
    }
    QCOMPARE(sum.words, 17.0);
    QCOMPARE(sum.reference_words, 18.0);
    QVERIFY(near(100 * sum.right[0] / sum.all[0], 82.35, 0.01));
    QVERIFY(near(100 * sum.right[3] / sum.all[3], 37.5, 0.01));
    QVERIFY(near(bleu(sum), 48.530827009929865, 1e-9));
    QVERIFY(near(bleu(bleu_counts("a b c d e", {"a b c d e"})), 100));
    QCOMPARE(bleu(bleu_counts("x y z w", {"a b c d"})), 0.0);
    // No 3-gram and no 4-gram is right: smoothed by 1/2 and 1/4.
    const BleuCounts few = bleu_counts("a b x c d", {"a b y c d"});
    QVERIFY(near(bleu(few), 100 * std::pow(4.0 / 5 * 2.0 / 4 * 1 / 6 * 1 / 8, 0.25)));
  }

  void words() {
    const auto check = [](const char* text, std::vector<std::string> wanted) {
      QCOMPARE(words_13a(text), wanted);
    };
    check("Hello, world!", {"Hello", ",", "world", "!"});
    check("It costs 1,234.50 (or so) - 3-4 days.",
          {"It", "costs", "1,234.50", "(", "or", "so", ")", "-", "3", "-", "4", "days", "."});
    check("e.g. don't &quot;say&amp;", {"e", ".", "g", ".", "don't", "\"", "say", "&"});
    check("caf\u00e9,\u00a0noir\u3000a", {"caf\u00e9", ",", "noir", "a"});
    check("  ", {});
  }

  /// The example of rouge-score's documentation.
  void rouge() {
    const double f = rouge_l("The quick brown dog jumps on the log.",
                             {"The quick brown fox jumps over the lazy dog"});
    QVERIFY(near(f, 2 * 0.625 * (5.0 / 9) / (0.625 + 5.0 / 9)));
    QCOMPARE(rouge_l("", {"a"}), 0.0);
    QCOMPARE(rouge_l("b a", {"x", "B, A!"}), 1.0);
  }

  void readsSets() {
    const auto hella = items_of(
        "multiple-choice",
        R"({"activity_label": "Baking", "ctx_a": "A cook [substeps] stands.", "ctx_b": "she",
            "endings": ["sings [title] loud", "runs"], "label": "1"})"
        "\n");
    QVERIFY(!hella.ok()); // a line is one object
    const auto one =
        items_of("multiple-choice",
                 R"({"activity_label": "Baking", "ctx_a": "A cook [substeps] stands.", )"
                 R"("ctx_b": "she", "endings": ["sings [title] loud", "runs"], "label": "1"})");
    QVERIFY(one.ok());
    QCOMPARE(one->front().prompt, std::string("Baking: A cook stands. She"));
    QCOMPARE(one->front().answers[0], std::string(" sings. loud"));
    QCOMPARE(one->front().right, std::size_t(1));
    const auto arc =
        items_of("multiple-choice", R"({"question": "Why?", "choices": {"text": ["a", "b", "c"], )"
                                    R"("label": ["A", "B", "C"]}, "answerKey": "C"})");
    QVERIFY(arc.ok());
    QCOMPARE(arc->front().prompt, std::string("Question: Why?\nAnswer:"));
    QCOMPARE(arc->front().right, std::size_t(2));
    const auto cloze = items_of("cloze", R"({"text": "the end of the story "})");
    QVERIFY(cloze.ok());
    QCOMPARE(cloze->front().prompt, std::string("the end of the"));
    QCOMPARE(cloze->front().answers[0], std::string(" story"));
    const auto shots = items_of("exact-match",
                                "{\"prompt\": \"1 +\", \"answer\": \"2\"}\n\n"
                                "{\"prompt\": \"2 +\", \"answer\": \"3\"}\n",
                                1);
    QVERIFY(shots.ok());
    QCOMPARE(shots->size(), std::size_t(1));
    QCOMPARE(shots->front().prompt, std::string("1 + 2\n\n2 +"));
  }

  void badSets_data() {
    QTest::addColumn<QString>("kind");
    QTest::addColumn<QString>("line");
    QTest::newRow("empty file") << "exact-match"
                                << "";
    QTest::newRow("no answer") << "exact-match"
                               << R"({"prompt": "a"})";
    QTest::newRow("empty answer") << "exact-match"
                                  << R"({"prompt": "a", "answer": ""})";
    QTest::newRow("a list") << "exact-match"
                            << "[1]";
    QTest::newRow("one choice") << "multiple-choice"
                                << R"({"prompt": "a", "choices": ["b"], "answer": 0})";
    QTest::newRow("no such choice") << "multiple-choice"
                                    << R"({"prompt": "a", "choices": ["b", "c"], "answer": 2})";
    QTest::newRow("no such label") << "multiple-choice"
                                   << R"({"question": "a", "choices": {"text": ["b", "c"],
                                          "label": ["A", "B"]}, "answerKey": "D"})";
    QTest::newRow("one word") << "cloze"
                              << R"({"text": "word"})";
    QTest::newRow("no number") << "numeric"
                               << R"({"question": "a", "answer": "many"})";
    QTest::newRow("no texts") << "bleu"
                              << R"({"prompt": "a", "references": [1]})";
  }
  void badSets() {
    QFETCH(QString, kind);
    QFETCH(QString, line);
    const auto items = items_of(kind.toUtf8().constData(), line.toStdString() + "\n");
    QVERIFY(!items.ok());
    QVERIFY(items.error().where.find("tasks.jsonl") != std::string::npos);
  }

  /// Likelihoods are sums of the steps of a forced reading.
  void likelihoods() {
    const std::string prompt = "Once upon a time", text = " there was a little";
    const auto found = likelihood(*engine_, prompt, text, feedback_);
    QVERIFY(found.ok());
    GenerateOptions options;
    options.prompt = demo_->tokenizer->encode(prompt + text, {true, false});
    options.max_new = 0;
    options.logprobs = 1;
    const auto steps = generate(*engine_, options, feedback_);
    QVERIFY(steps.ok());
    const auto before = demo_->tokenizer->encode(prompt, {true, false}).size();
    double sum = 0;
    bool greedy = true;
    for (std::size_t i = before; i < options.prompt.size(); ++i) {
      sum += *steps->steps[i].logprob;
      greedy = greedy && steps->steps[i].top[0].id == steps->steps[i].id;
    }
    QVERIFY(near(found->log_likelihood, sum, 1e-4));
    QCOMPARE(found->greedy, greedy);
    QCOMPARE(found->tokens, std::int64_t(options.prompt.size() - before));
    QVERIFY(!likelihood(*engine_, prompt, "", feedback_).ok());
  }

  /// What the model says by itself is right, anything else is not.
  void kindsOnTheDemoModel() {
    const std::string prompt = "Count: 29, 30, 31, 32,";
    const auto said = continuation(*engine_, prompt, 12, {}, feedback_);
    QVERIFY(said.ok());
    const std::string first_word = said->substr(0, said->find(' ', 1));
    const auto cloze = score("cloze", {"", prompt, {first_word}, 0});
    QVERIFY(cloze.ok() && cloze->value == 1 && cloze->sums[0] <= 0);
    const auto choice = score("multiple-choice", {"", prompt, {" zebra", first_word}, 1});
    QVERIFY(choice.ok() && choice->value == 1);
    QCOMPARE(choice->output, first_word);
    const auto wrong = score("multiple-choice", {"", prompt, {" zebra", first_word}, 0});
    QVERIFY(wrong.ok() && wrong->value == 0);
    const auto rouge = score("rouge-l", {"", prompt, {*said}, 0}, 12);
    QVERIFY(rouge.ok() && near(rouge->value, 1));
    const auto match = score("exact-match", {"", prompt, {"33"}, 0});
    QVERIFY(match.ok() && match->value == 1);
    const auto number = score("numeric", {"", prompt, {"so #### 33"}, 0}, 1);
    QVERIFY(number.ok());
    QCOMPARE(number->value, 1.0);
  }

  void runsAreTheSame() {
    const auto items = read_tasks(*find_task_kind("exact-match"),
                                  (fs::path(demo_model()) / "tasks.jsonl").string());
    QVERIFY(items.ok());
    const std::vector<TaskItem> some(items->begin(), items->begin() + 24);
    const TaskKind& kind = *find_task_kind("exact-match");
    const auto a = run_tasks(*engine_, kind, some, {}, feedback_);
    const auto b = run_tasks(*engine_, kind, some, {}, feedback_);
    QVERIFY(a.ok() && b.ok());
    QCOMPARE(paired_p(kind, *a, *b), 1.0);
    QVERIFY(figure_of(kind, *a).value > 0.5); // 99 of all 128
    Feedback stopped;
    stopped.stop = true;
    QCOMPARE(run_tasks(*engine_, kind, some, {}, stopped).error().code, std::string("cancelled"));
  }

  /// A report holds what the parts say, for every model, and sessions bring it back.
  void reports() {
    const TaskKind& kind = *find_task_kind("exact-match");
    const std::string file = (fs::path(demo_model()) / "tasks.jsonl").string();
    auto broken = std::make_shared<Checkpoint>();
    broken->why_not_runnable = "it is no model";
    const TaskModel models[] = {{"first", demo_}, {"no model", broken}, {"again", demo_}};
    TaskRunOptions options;
    options.shots = 2;
    options.limit = 10;
    int calls = 0;
    const auto report =
        measure_tasks(kind, file, models, options, *cpu_, feedback_, [&](const TaskReport& now) {
          ++calls;
          QCOMPARE(int(now.models.size()), calls);
        });
    QVERIFY2(report.ok(), report ? "" : report.error().text().c_str());
    QCOMPARE(calls, 3);
    QCOMPARE(feedback_.total.load(), std::uint64_t(10)); // items, not their tokens
    QCOMPARE(feedback_.done.load(), std::uint64_t(10));
    QCOMPARE(report->items.size(), std::size_t(10));
    const auto items = read_tasks(kind, file, 2);
    QVERIFY(items.ok() && (*items)[0].examples > 0);
    QCOMPARE((*items)[0].prompt, report->items[0].prompt);
    const std::vector<TaskItem> some(items->begin(), items->begin() + 10);
    const auto scores = run_tasks(*engine_, kind, some, {}, feedback_);
    QVERIFY(scores.ok());
    const TaskModelFigures& first = report->models[0];
    QCOMPARE(first.value, figure_of(kind, *scores).value);
    QCOMPARE(first.ci_low, figure_of(kind, *scores).interval.low);
    QCOMPARE(first.answers[3].said, (*scores)[3].output);
    QVERIFY(!first.paired_p && first.right);
    QVERIFY(report->models[1].problem.find("it is no model") != std::string::npos);
    QCOMPARE(report->models[2].paired_p.value_or(-1), 1.0);

    const Json json = Json::parse(task_report_to_json(*report).dump());
    const TaskReport back = task_report_from_json(json);
    QCOMPARE(task_report_to_json(back).dump(), task_report_to_json(*report).dump());
    QCOMPARE(back.items[0].prompt, report->items[0].prompt.substr(report->items[0].examples));
    options.all_or_nothing = true;
    QVERIFY(!measure_tasks(kind, file, models, options, *cpu_, feedback_).ok());
    for (const char* text : {"null", "[]", "{\"items\": 4, \"models\": [1, {\"answers\": {}}]}",
                             "{\"items\": [{\"answers\": [\"a\"], \"right\": 99}], \"models\": "
                             "[{\"groups\": [7]}]}"}) {
      const TaskReport hostile = task_report_from_json(Json::parse(text));
      for (const TaskItem& item : hostile.items)
        QVERIFY(item.answers.empty() || item.right < item.answers.size());
      for (const TaskModelFigures& model : hostile.models)
        QCOMPARE(model.answers.size(), hostile.items.size());
    }
  }

  /// As messages: what the chat template makes of the prompt is what is run.
  void chats() {
    const std::string question = "What is 17 plus 0?";
    TaskOptions options;
    options.chat = true;
    const auto said = continuation(*engine_, question, 6, options, feedback_);
    QVERIFY2(said.ok(), said ? "" : said.error().text().c_str());
    const auto chat = chat_prompt(*demo_, chat_messages(question));
    QVERIFY(chat.ok());
    GenerateOptions asked;
    asked.prompt = chat->ids;
    asked.stop = chat->stop;
    asked.max_new = 6;
    const auto result = generate(*engine_, asked, feedback_);
    QVERIFY(result.ok());
    QCOMPARE(*said, demo_->tokenizer->decode(result->tokens));
    const TaskItem item{"", "x", {"a", "b"}, 0};
    const auto refused =
        run_tasks(*engine_, *find_task_kind("multiple-choice"), {item}, options, feedback_);
    QVERIFY(!refused && refused.error().code == "bad-argument");
    for (const TaskKind* kind : all_task_kinds())
      QCOMPARE(kind->generates, kind->id != "multiple-choice" && kind->id != "cloze");
  }

  void numbers_data() {
    QTest::addColumn<QString>("answer");
    QTest::addColumn<QString>("said");
    QTest::addColumn<bool>("right");
    QTest::newRow("mark") << "#### 1,200"
                          << "so 5 #### 1200 apples 7" << true;
    QTest::newRow("last") << "12.50"
                          << "first 3, then $12.5." << true;
    QTest::newRow("sign") << "-4"
                          << "it is -4" << true;
    QTest::newRow("range") << "5"
                           << "3-5" << true;
    QTest::newRow("zeros") << "007"
                           << "7.000" << true;
    QTest::newRow("other") << "70"
                           << "7" << false;
    QTest::newRow("none") << "70"
                          << "seventy" << false;
    QTest::newRow("long") << "123456789012345678901"
                          << "123456789012345678902" << false;
  }
  void numbers() {
    QFETCH(QString, answer);
    QFETCH(QString, said);
    QFETCH(bool, right);
    QCOMPARE(same_number(answer.toStdString(), said.toStdString()), right);
  }
};

QTEST_GUILESS_MAIN(TestTasks)
#include "tst_tasks.moc"
