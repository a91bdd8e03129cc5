// SPDX-License-Identifier: GPL-3.0-or-later
// Calibration sets: fields and chats, parts that never meet, coverage, records that notice text
// again, and two sets side by side.
#include "core/calib/compare.h"
#include "core/calib/sets.h"
#include "core/eval/judged_text.h"
#include "core/job/result_store.h"
#include "core/text/tokenizer.h"
#include "tests/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <QTemporaryDir>
#include <QTest>
#include <set>

using namespace bitlathe;

namespace {

using Samples = std::vector<std::vector<std::int32_t>>;

std::string code(const Result<SetTokens>& result) {
  return result.ok() ? "ok" : result.error().code;
}

bool says(const std::vector<std::string>& notes, const std::string& what) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const std::string& note) { return note.find(what) != std::string::npos; });
}

} // namespace

#define FAILS(result, what)                                                                        \
  do {                                                                                             \
    const auto& failing = (result);                                                                \
    QVERIFY(!failing.ok());                                                                        \
    QVERIFY2(failing.error().text().find(what) != std::string::npos,                               \
             failing.error().text().c_str());                                                      \
  } while (false)

class TestSets : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  std::shared_ptr<const Checkpoint> demo_;
  const std::string calibration_ = (test::demo_model() / "calibration.txt").string();

  std::string write(const char* name, const std::string& content) const {
    const auto path = std::filesystem::path(dir_.path().toStdString()) / name;
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  std::vector<std::int32_t> encode(const std::string& text, bool special = true) const {
    return demo_->tokenizer->encode(text, {special, !special});
  }

 private Q_SLOTS:
  void initTestCase() {
    QVERIFY(dir_.isValid());
    auto opened = open_checkpoint(test::demo_model());
    QVERIFY2(opened.ok(), opened ? "" : opened.error().text().c_str());
    demo_ = *opened;
    QVERIFY(demo_->tokenizer);
  }

  void fields_are_taken_as_asked() {
    const auto eos = demo_->tokenizer->eos();
    const auto with_end = [&](const std::string& text) {
      auto ids = encode(text);
      ids.push_back(eos);
      return ids;
    };
    const std::string rows = write(
        "rows.jsonl", "\xef\xbb\xbf{\"text\": \"One day.\", \"story\": \"A dog ran.\"}\n"
                      "  \n{\"prompt\": \"Who ran?\", \"text\": null, \"story\": \"\"}\r\n"
                      "{\"text\": \"\", \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"},"
                      "{\"role\": \"assistant\", \"content\": \"Ho\"}], \"story\": \"A cat.\"}");
    auto expected = with_end("One day.");
    for (const auto id : with_end("Who ran?"))
      expected.push_back(id);
    for (const auto id : encode("User: Hi\nAssistant: Ho\n", false))
      expected.push_back(id);
    const auto any = read_set(*demo_, {rows, 1});
    QVERIFY2(any.ok(), any ? "" : any.error().text().c_str());
    QCOMPARE(any->documents, 3);
    QVERIFY(any->ids == expected);
    const auto story = read_set(*demo_, {rows, 1, "story"});
    QVERIFY2(story.ok(), story ? "" : story.error().text().c_str());
    QCOMPARE(story->documents, 2);
    QVERIFY(says(story->notes, "1 lines have no text"));
    expected = with_end("A dog ran.");
    for (const auto id : with_end("A cat."))
      expected.push_back(id);
    QVERIFY(story->ids == expected);
  }

  void bad_files_are_explained() {
    FAILS(read_set(*demo_, {write("empty.txt", ""), 1}), "The file is empty");
    FAILS(read_set(*demo_, {write("white.txt", " \n\n"), 1}), "white space");
    FAILS(read_set(*demo_, {write("zero.txt", std::string("ab\0c", 4)), 1}), "byte 3 is zero");
    FAILS(read_set(*demo_, {write("gz.txt", "\x1f\x8b\x08 ..."), 1}), "unpack");
    FAILS(read_set(*demo_, {write("wide.txt", std::string("\xff\xfe"
                                                          "a\0",
                                                          4)),
                            1}),
          "UTF-16");
    FAILS(read_set(*demo_, {write("latin.txt", std::string(40, '\xe9')), 1}), "not UTF-8");
    const auto some = read_set(*demo_, {write("caf.txt", "Caf\xe9 is a nice place to sit in."), 1});
    QVERIFY(some.ok());
    QVERIFY(says(some->notes, "1 bytes are not UTF-8"));
    FAILS(read_set(*demo_, {dir_.path().toStdString(), 1}), dir_.path().toStdString());
    FAILS(read_set(*demo_, {write("list.jsonl", "[1, 2]\n"), 1}), "line 1");
    FAILS(read_set(*demo_, {write("number.jsonl", "{\"text\": \"a\"}\n{\"text\": 3}\n"), 1}),
          "line 2");
    FAILS(read_set(*demo_, {write("keys.jsonl", "{\"body\": \"a\", \"id\": 3}\n"), 1}), "\"body\"");
    FAILS(read_set(*demo_, {write("keys2.jsonl", "{\"text\": \"a\"}\n"), 1, "body"}), "\"body\"");
    FAILS(read_set(*demo_, {write("none.jsonl", "{\"text\": \"\"}\n\n"), 1}), "no document");
    FAILS(read_set(*demo_, {write("role.jsonl", "{\"messages\": [{\"content\": \"a\"}]}\n"), 1}),
          "\"role\"");
    FAILS(read_set(*demo_, {write("strings.jsonl", "{\"messages\": [\"a\"]}\n"), 1}), "line 1");
    FAILS(read_set(*demo_, {calibration_, 1, "", "training"}), "\"training\"");
    FAILS(read_set(*demo_, {write("one.txt", "A few words."), 1, "", "evaluation"}),
          "part \"evaluation\"");
    FAILS(draw_calibration(*demo_, {{calibration_, 1}}, 5000, 256, 0), "1280000 tokens");
    FAILS(draw_calibration(*demo_, {{calibration_, 1}}, INT64_MAX, INT64_MAX, 0), "more than any");
    Checkpoint bare;
    QCOMPARE(code(read_set(bare, {calibration_, 1})), std::string("unsupported"));
  }

  void parts_never_meet() {
    std::string rows;
    for (int i = 0; i < 300; ++i) // every document three times
      rows += "{\"text\": \"Story " + std::to_string(i % 100) + " is about " +
              std::string(std::size_t(i % 100), 'x') + ".\"}\n";
    const std::string documents = write("parts.jsonl", rows);
    for (const std::string& path : {calibration_, documents}) {
      std::vector<std::multiset<std::string>> pieces;
      std::size_t total = 0;
      std::vector<std::size_t> sizes;
      for (const std::string_view part : split_names) {
        const auto set = read_set(*demo_, {path, 1, "", std::string(part), 7});
        QVERIFY2(set.ok(), set ? "" : set.error().text().c_str());
        QVERIFY(*set->source.content.c_str());
        auto& found = pieces.emplace_back();
        std::vector<std::int32_t> one;
        for (const auto id : set->ids) {
          if (id == demo_->tokenizer->eos()) {
            found.insert(demo_->tokenizer->decode(one));
            one.clear();
          } else {
            one.push_back(id);
          }
        }
        sizes.push_back(set->ids.size());
        total += set->ids.size();
        const auto again = read_set(*demo_, {path, 1, "", std::string(part), 7});
        const auto other = read_set(*demo_, {path, 1, "", std::string(part), 8});
        QVERIFY(again.ok() && other.ok() && again->ids == set->ids && other->ids != set->ids);
      }
      QVERIFY2(std::abs(double(sizes[0]) / double(total) - 0.6) < 0.1, "six tenths");
      QVERIFY2(std::abs(double(sizes[1]) / double(total) - 0.2) < 0.1, "two tenths");
      for (std::size_t a = 0; a < 3; ++a)
        for (std::size_t b = a + 1; b < 3; ++b)
          for (const auto& piece : pieces[a])
            QVERIFY(!pieces[b].count(piece));
      if (path == documents)
        QCOMPARE(pieces[0].size() + pieces[1].size() + pieces[2].size(), std::size_t(300));
    }
    // Together the parts are the file: every byte of it is in exactly one of them.
    std::string text;
    for (int i = 0; i < 4000; ++i)
      text += "w" + std::to_string(i) + (i % 9 ? " " : "\n");
    const std::string numbered = write("numbered.txt", text);
    std::map<std::string, int> words;
    for (const std::string_view part : split_names) {
      const auto set = read_set(*demo_, {numbered, 1, "", std::string(part)});
      QVERIFY(set.ok());
      std::istringstream in(demo_->tokenizer->decode(set->ids));
      std::string word;
      while (in >> word)
        ++words[word];
    }
    QCOMPARE(words.size(), std::size_t(4000));
    QVERIFY(std::all_of(words.begin(), words.end(), [](const auto& w) { return w.second == 1; }));
  }

  void coverage_is_counted() {
    const std::string small = write("small.txt", "One dog and one dog and one dog and one dog.");
    const auto set =
        draw_calibration(*demo_, {{calibration_, 3}, {small, 1}, {"/nowhere", 1e-9}}, 8, 6, 3);
    QVERIFY2(set.ok(), set ? "" : set.error().text().c_str());
    QCOMPARE(set->samples.size(), std::size_t(8));
    QCOMPARE(set->files[0].windows, 6);
    QCOMPARE(set->files[1].windows, 2);
    QCOMPARE(set->files[1].tokens_used, 12);
    QCOMPARE(set->files[1].tokens_available, std::int64_t(encode("One dog and one dog and one dog "
                                                                 "and one dog.")
                                                              .size()));
    QVERIFY(says(set->notes, "/nowhere"));
    std::set<std::int32_t> seen;
    for (const auto& sample : set->samples)
      seen.insert(sample.begin(), sample.end());
    QCOMPARE(set->coverage.vocabulary_seen, std::int64_t(seen.size()));
    const OrderedJson json = coverage_to_json(*set);
    QCOMPARE(json["tokens_used"].get<int>(), 48);
    QCOMPARE(json["vocabulary_share"].get<double>(), double(seen.size()) / 2048.0);
    QCOMPARE(json["files"].size(), std::size_t(3));
    const auto twice = draw_calibration(*demo_, {{calibration_, 1}, {calibration_, 1}}, 8, 6, 3);
    QVERIFY(twice.ok() && says(twice->notes, "windows may be drawn twice"));
    const auto apart = draw_calibration(
        *demo_, {{calibration_, 1, "", "calibration"}, {calibration_, 1, "", "evaluation"}}, 8, 6,
        3);
    QVERIFY(apart.ok() && !says(apart->notes, "twice"));
    QVERIFY(says(apart->notes, "judge results"));
  }

  void text_is_known_again() {
    const auto set = draw_calibration(*demo_, {{calibration_, 1}}, 16, 256, 0);
    QVERIFY(set.ok());
    const auto whole = read_set(*demo_, {calibration_, 1});
    QVERIFY(whole.ok());
    // By comparing tokens directly: windows of 512 that hold a whole stretch of 95 of a sample.
    const auto overlaps = windows_that_overlap(set->record, whole->ids, 512);
    QCOMPARE(overlaps.size(), whole->ids.size() / 512);
    std::size_t must = 0, found = 0;
    for (std::size_t w = 0; w < overlaps.size(); ++w) {
      bool holds = false;
      const auto begin = whole->ids.begin() + std::ptrdiff_t(w * 512);
      for (const auto& sample : set->samples)
        holds |= std::search(begin, begin + 512, sample.begin(), sample.end()) != begin + 512;
      must += holds;
      found += overlaps[w];
      QVERIFY(overlaps[w] || !holds);
    }
    QVERIFY(must >= 14 && found <= must + 2);
    // From any start: what follows moves by 37 tokens.
    const std::vector<std::int32_t> moved(whole->ids.begin() + 37, whole->ids.end());
    const auto later = windows_that_overlap(set->record, moved, 512);
    QVERIFY(std::count(later.begin(), later.end(), true) >= 14);
    const auto held_out = read_set(*demo_, {(test::demo_model() / "evaluation.txt").string(), 1});
    QVERIFY(held_out.ok());
    const auto none = windows_that_overlap(set->record, held_out->ids, 512);
    QCOMPARE(std::count(none.begin(), none.end(), true), std::ptrdiff_t(0));
    // The same token over and over says nothing.
    QVERIFY(fingerprints({std::vector<std::int32_t>(256, 5)}).empty());
    QVERIFY(fingerprints({{1, 2, 3}}).empty());
    QCOMPARE(fingerprints({{set->samples[0].begin(), set->samples[0].begin() + 48}}).size(),
             std::size_t(1));

    const auto back = record_from_json(Json::parse(record_to_json(set->record).dump()), "record");
    QVERIFY(back.ok() && *back == set->record);
    QVERIFY(!record_from_json(Json{{"fingerprints", "12x"}}, "record").ok());
    QVERIFY(!record_from_json(Json::array(), "record").ok());

    const JudgedText same{whole->source, whole->ids, 512, 0};
    QVERIFY(says(overlap_notes(set->record, same, "MODEL"), "hold text of its calibration"));
    const JudgedText other{held_out->source, held_out->ids, 512, 0};
    QVERIFY(overlap_notes(set->record, other, "MODEL").empty());
    const auto part = draw_calibration(*demo_, {{calibration_, 1, "", "calibration"}}, 16, 256, 0);
    const auto rest = read_set(*demo_, {calibration_, 1, "", "evaluation"});
    const auto reseeded = read_set(*demo_, {calibration_, 1, "", "evaluation", 1});
    QVERIFY(part.ok() && rest.ok() && reseeded.ok());
    QVERIFY(overlap_notes(part->record, {rest->source, rest->ids, 512, 0}, "MODEL").empty());
    QVERIFY(!overlap_notes(part->record, {reseeded->source, reseeded->ids, 512, 0}, "M").empty());
  }

  void results_remember_their_text() {
    auto compute = make_cpu_compute();
    QVERIFY(compute.ok());
    Recipe recipe;
    recipe.default_method = "mse";
    recipe.calibration_files = {{calibration_, 1, "", "calibration"}};
    Feedback feedback;
    const auto plan = make_plan(*demo_, recipe, false, true);
    QVERIFY(plan.ok());
    const auto set = draw_calibration(*demo_, recipe.calibration_files, 4, 128, 0);
    QVERIFY(set.ok());
    const auto statistics = calibrate(demo_, **compute, set->samples, feedback);
    QVERIFY(statistics.ok());
    QVERIFY(statistics->record.fingerprints == set->record.fingerprints);
    // The statistics' file keeps the record too.
    const std::filesystem::path file = dir_.path().toStdString() + "/statistics";
    ActivationStatistics named = *statistics;
    named.record = set->record;
    QVERIFY(write_statistics(file, named, *demo_, "own").ok());
    const auto read = read_statistics(file, *demo_);
    QVERIFY(read.ok() && read->record == set->record);

    const std::filesystem::path folder = dir_.path().toStdString() + "/out/.bitlathe";
    QuantizeOptions options;
    options.result_folder = folder;
    options.statistics = &*statistics;
    const auto done = run_quantize(*demo_, *plan, **compute, options, feedback);
    QVERIFY2(done.ok(), done ? "" : done.error().text().c_str());
    const auto kept = read_result(folder);
    QVERIFY(kept.ok());
    QVERIFY(kept->summary.calibration == set->record);
    QVERIFY(find_record(folder) == set->record);
    QVERIFY(find_record(folder.parent_path()) == set->record);
    QVERIFY(find_record(folder.parent_path().string() + "/") == set->record);
    QVERIFY(find_record(folder.parent_path() / "model.gguf") == set->record);
    QVERIFY(find_record(test::demo_model()).empty());
  }

  void tasks_met_in_calibration_are_told() {
    auto compute = make_cpu_compute();
    QVERIFY(compute.ok());
    const std::string tasks = (test::demo_model() / "tasks.jsonl").string();
    const auto set = draw_calibration(*demo_, {{tasks}}, 8, 128, 0);
    QVERIFY(set.ok());
    ActivationStatistics statistics;
    statistics.record = set->record;
    Feedback feedback;
    const auto plan = make_plan(*demo_, Recipe(), false, false);
    QVERIFY(plan.ok());
    QuantizeOptions options;
    options.result_folder = dir_.path().toStdString() + "/met";
    options.statistics = &statistics;
    QVERIFY(run_quantize(*demo_, *plan, **compute, options, feedback).ok());
    const auto met = open_checkpoint(options.result_folder);
    QVERIFY(met.ok());
    QVERIFY(says(task_overlap_notes(**met, tasks), "was calibrated on this text"));
    QVERIFY(task_overlap_notes(*demo_, tasks).empty());
    QVERIFY(says(task_overlap_notes(**met, "/nowhere.jsonl"), "is not known"));

    // Texts to judge on: whole, and by parts as sets are read.
    const auto whole = read_judged_text(*demo_, {calibration_}, 64, 0);
    QVERIFY(whole.ok() && !whole->source.content.empty() && whole->notes.empty());
    const auto part = read_judged_text(*demo_, {calibration_, 1, "", "evaluation"}, 64, 0);
    QVERIFY(part.ok() && part->text.ids.size() < whole->text.ids.size());
    QVERIFY(overlap_notes(options.result_folder, *whole, "M").empty());
    const auto judged = read_judged_text(*demo_, {tasks}, 64, 0, true);
    QVERIFY(judged.ok());
    QVERIFY(says(overlap_notes(options.result_folder, *judged, "M"), "M was calibrated"));
    QVERIFY(!read_judged_text(*demo_, {"/nowhere.txt"}, 64, 0).ok());
    QVERIFY(!read_judged_text(*demo_, {tasks}, 1 << 20, 0, true).ok());
  }

  void sets_are_compared() {
    ActivationModule a, b;
    a.name = b.name = "linear";
    a.tokens = b.tokens = 10;
    a.channel_min = {-1, -2, 0, -1};
    a.channel_max = {1, 1, 4, 0};
    b.channel_min = {-1, -6, 0, -1};
    b.channel_max = {2, 1, 1, 0};
    a.channel_sum2 = {10, 20, 30, 40};
    b.channel_sum2 = {10, 40, 30, 20};
    a.histogram = {10, 10, 10, 10};
    a.histogram_lo = 0;
    a.histogram_hi = 4;
    b.histogram = {20, 20};
    b.histogram_lo = 4;
    b.histogram_hi = 8;
    a.moments = {};
    a.moments.count = b.moments.count = 40;
    a.moments.min = 0;
    a.moments.max = a.moments.absmax = 4;
    a.moments.sum = 80;
    a.moments.sum2 = 200; // variance 1
    b.moments = a.moments;
    b.moments.min = 4;
    b.moments.max = b.moments.absmax = 8;
    const auto d = compare_activations(a, b);
    QVERIFY2(d.ok(), d ? "" : d.error().text().c_str());
    QCOMPARE(d->ratio_min, 0.25);
    QCOMPARE(d->ratio_min_channel, 2);
    QCOMPARE(d->ratio_max, 3.0);
    QCOMPARE(d->ratio_max_channel, 1);
    QCOMPARE(d->channels_over_twice, 2);
    QCOMPARE(d->mean_square[0], 2.5);
    // Spearman of 1 2 3 4 and 1 4 3 2: 1 - 6 * 8 / (4 * 15).
    QVERIFY(std::abs(d->rank_correlation - 0.2) < 1e-12);
    QCOMPARE(d->histogram_distance, 1.0);
    QVERIFY(std::abs(d->transport_distance - 4) < 1e-3); // all values move by 4
    const auto same = compare_activations(a, a);
    QVERIFY(same.ok() && same->histogram_distance == 0 && same->transport_distance == 0);
    QVERIFY(same->rank_correlation == 1 && same->channels_over_twice == 0);
    b.channel_sum2 = {1, 1, 1, 1};
    QVERIFY(std::isnan(compare_activations(a, b)->rank_correlation));
    b.channel_sum2.pop_back();
    QVERIFY(!compare_activations(a, b).ok());
    a.channel_min.clear();
    QVERIFY(!compare_activations(a, a).ok());
  }

  void files_are_named_with_what_is_taken() {
    const auto plain = parse_calibration_file("a.txt");
    QVERIFY(plain.ok() && *plain == (CalibrationFile{"a.txt", 1}));
    const auto full =
        parse_calibration_file("C:/a.jsonl:field=body:weight=0.5:split=selection:seed=4");
    QVERIFY(full.ok());
    QVERIFY(*full == (CalibrationFile{"C:/a.jsonl", 0.5, "body", "selection", 4}));
    const std::string odd = write("odd:weight=2", "text");
    QVERIFY(parse_calibration_file(odd)->path == odd);
    QCOMPARE(parse_calibration_file(odd + ":weight=3")->weight, 3.0);
    for (const char* bad : {"a:weight=0", "a:weight=x", "a:split=train", "a:colour=red", "a:seed=1",
                            "a:field=", "a:weight=1:weight=2", "a:split=evaluation:seed=1.5"})
      QVERIFY2(!parse_calibration_file(bad).ok(), bad);
  }
};

QTEST_GUILESS_MAIN(TestSets)
#include "tst_sets.moc"
