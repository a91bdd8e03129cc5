// SPDX-License-Identifier: GPL-3.0-or-later
// Calibration: sampling of windows, statistics against the slow oracle, and the three file formats.
#include "core/calib/statistics.h"
#include "core/text/tokenizer.h"
#include "kernels/base/parallel.h"
#include "tests/tiny_model.h"

#include <algorithm>
#include <fstream>
#include <QTemporaryDir>
#include <QTest>
#include <set>

using namespace bitlathe;

namespace {

using Samples = std::vector<std::vector<std::int32_t>>;

Samples some_samples(std::size_t count, std::size_t length) {
  std::mt19937 random(11);
  Samples out(count, std::vector<std::int32_t>(length));
  for (auto& sample : out)
    for (auto& id : sample)
      id = std::int32_t(random() % 50);
  return out;
}

void write(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

template <class T> void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

bool same(const ActivationModule& a, const ActivationModule& b) {
  return a.name == b.name && a.tokens == b.tokens && a.channel_min == b.channel_min &&
         a.channel_max == b.channel_max && a.channel_sum == b.channel_sum &&
         a.channel_sum2 == b.channel_sum2 && a.histogram == b.histogram &&
         a.histogram_lo == b.histogram_lo && a.histogram_hi == b.histogram_hi &&
         a.moments.count == b.moments.count && a.moments.zeros == b.moments.zeros &&
         a.moments.min == b.moments.min && a.moments.max == b.moments.max &&
         a.moments.sum == b.moments.sum && a.moments.sum4 == b.moments.sum4;
}

} // namespace

class TestCalib : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> compute_;
  QTemporaryDir dir_;
  Feedback feedback_;

  std::filesystem::path file(const char* name) const {
    return std::filesystem::path(dir_.path().toStdString()) / name;
  }
  std::shared_ptr<const Checkpoint> demo() const {
    auto opened = open_checkpoint(test::demo_model());
    return opened ? *opened : nullptr;
  }

 private Q_SLOTS:
  void initTestCase() {
    auto made = make_cpu_compute();
    QVERIFY2(made.ok(), made ? "" : made.error().text().c_str());
    compute_ = std::move(*made);
    QVERIFY(dir_.isValid());
  }

  void windows_are_drawn_by_the_seed() {
    const auto checkpoint = demo();
    QVERIFY(checkpoint && checkpoint->tokenizer);
    const std::vector<CalibrationFile> files{
        {(test::demo_model() / "calibration.txt").string(), 1.0}};
    const auto a = calibration_samples(*checkpoint, files, 16, 128, 1);
    QVERIFY2(a.ok(), a ? "" : a.error().text().c_str());
    QCOMPARE(a->size(), std::size_t(16));
    QVERIFY(*a == *calibration_samples(*checkpoint, files, 16, 128, 1));
    QVERIFY(*a != *calibration_samples(*checkpoint, files, 16, 128, 2));
    // Every sample is a different window of the text's tokens.
    std::ifstream in(files[0].path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto ids = checkpoint->tokenizer->encode(text);
    std::set<std::size_t> seen;
    for (const auto& sample : *a) {
      QCOMPARE(sample.size(), std::size_t(128));
      for (std::size_t at = 0; at + 128 <= ids.size(); at += 128)
        if (std::equal(sample.begin(), sample.end(), ids.begin() + std::ptrdiff_t(at)))
          seen.insert(at);
    }
    QCOMPARE(seen.size(), std::size_t(16));
  }

  void files_share_by_weight() {
    const auto checkpoint = demo();
    QVERIFY(checkpoint);
    std::string numbers, jsonl;
    for (int i = 0; i < 3000; ++i)
      numbers += "7 ";
    for (int i = 0; i < 200; ++i)
      jsonl += i % 2 ? "{\"prompt\": \"one dog and one dog and one dog\"}\n"
                     : "{\"text\": \"one dog and one dog and one dog\", \"id\": 3}\n\n";
    write(file("numbers.txt"), numbers);
    write(file("dogs.jsonl"), jsonl);
    const auto seven = checkpoint->tokenizer->encode(" 7");
    const auto got = calibration_samples(
        *checkpoint, {{file("numbers.txt").string(), 3}, {file("dogs.jsonl").string(), 1}}, 10, 32,
        5);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    int from_numbers = 0, ends = 0;
    for (const auto& sample : *got) {
      const auto hits = std::count(sample.begin(), sample.end(), seven.back());
      from_numbers += hits > 10;
      if (hits <= 10)
        ends += int(std::count(sample.begin(), sample.end(), checkpoint->tokenizer->eos()));
    }
    QVERIFY2(from_numbers == 7 || from_numbers == 8, qPrintable(QString::number(from_numbers)));
    QVERIFY(ends > 0); // documents are told apart
  }

  void bad_calibration_text_is_explained() {
    const auto checkpoint = demo();
    QVERIFY(checkpoint);
    const auto code = [](const auto& result) {
      return result.ok() ? std::string("ok") : result.error().code;
    };
    write(file("short.txt"), "Just a few words.");
    const auto little =
        calibration_samples(*checkpoint, {{file("short.txt").string(), 1}}, 4, 64, 0);
    QCOMPARE(code(little), std::string("bad-argument"));
    QVERIFY2(little.error().message.find(" tokens") != std::string::npos,
             little.error().message.c_str());
    QCOMPARE(code(calibration_samples(*checkpoint, {{file("none.txt").string(), 1}}, 4, 64, 0)),
             std::string("not-found"));
    write(file("bad.jsonl"), "{\"text\": \"fine\"}\n{\"text\": \n");
    const auto broken =
        calibration_samples(*checkpoint, {{file("bad.jsonl").string(), 1}}, 4, 64, 0);
    QVERIFY(!broken.ok());
    QVERIFY(broken.error().where.find("line 2") != std::string::npos);
    write(file("empty.jsonl"), "{\"texts\": \"typo\"}\n");
    QVERIFY(!calibration_samples(*checkpoint, {{file("empty.jsonl").string(), 1}}, 4, 64, 0).ok());
    const CalibrationFile text{(test::demo_model() / "calibration.txt").string(), 1};
    QCOMPARE(code(calibration_samples(*checkpoint, {}, 4, 64, 0)), std::string("bad-argument"));
    QCOMPARE(code(calibration_samples(*checkpoint, {text}, 0, 64, 0)), std::string("bad-argument"));
    QCOMPARE(code(calibration_samples(*checkpoint, {{text.path, -1}}, 4, 64, 0)),
             std::string("bad-argument"));
    QCOMPARE(code(calibration_samples(*checkpoint, {{text.path, 0}}, 4, 64, 0)),
             std::string("bad-argument"));
    QCOMPARE(code(calibration_samples(Checkpoint(), {text}, 4, 64, 0)), std::string("unsupported"));
  }

  void statistics_match_the_oracle() {
    const auto checkpoint = test::tiny_checkpoint();
    const Samples samples = some_samples(5, 20);
    const auto got = calibrate(checkpoint, *compute_, samples, feedback_);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    QCOMPARE(got->samples, 5);
    QCOMPARE(got->tokens, 100);
    QCOMPARE(feedback_.done.load(), 5u);
    std::map<std::string, std::vector<std::vector<double>>> inputs;
    for (const auto& sample : samples)
      test::slow_logits(*checkpoint, sample, &inputs);
    QCOMPARE(got->modules.size(), inputs.size());
    for (const auto& [name, rows] : inputs) {
      const ActivationModule& m = got->modules.at(name);
      QCOMPARE(m.name, name);
      QCOMPARE(m.tokens, 100u);
      const std::size_t columns = rows[0].size();
      QCOMPARE(m.channel_sum2.size(), columns);
      double lowest = INFINITY, highest = -INFINITY, fourth = 0;
      for (std::size_t c = 0; c < columns; ++c) {
        double lo = INFINITY, hi = -INFINITY, sum = 0, sum2 = 0;
        for (const auto& row : rows) {
          lo = std::min(lo, row[c]);
          hi = std::max(hi, row[c]);
          sum += row[c];
          sum2 += row[c] * row[c];
          fourth += std::pow(row[c], 4);
        }
        // The default cache is f32 here: only rounding differs.
        QVERIFY(std::abs(double(m.channel_min[c]) - lo) < 2e-5);
        QVERIFY(std::abs(double(m.channel_max[c]) - hi) < 2e-5);
        QVERIFY(std::abs(m.channel_sum[c] - sum) < 1e-3);
        QVERIFY(std::abs(m.channel_sum2[c] - sum2) < 1e-3 * (1 + sum2));
        QVERIFY(std::abs(double(m.importance()[c]) - sum2 / 100) < 1e-3 * (1 + sum2));
        lowest = std::min(lowest, lo);
        highest = std::max(highest, hi);
      }
      QCOMPARE(m.moments.count, std::uint64_t(100 * columns));
      QVERIFY(std::abs(m.moments.sum4 - fourth) < 1e-3 * (1 + fourth));
      QVERIFY(std::abs(double(m.moments.min) - lowest) < 2e-5);
      QCOMPARE(m.moments.absmax, std::max(-m.moments.min, m.moments.max));

      // The histogram counts every value, in bins that hold them.
      QCOMPARE(m.histogram.size(), std::size_t(2048));
      QVERIFY(m.histogram_lo <= double(m.moments.min) && m.histogram_hi >= double(m.moments.max));
      std::uint64_t counted = 0;
      for (const auto n : m.histogram)
        counted += n;
      QCOMPARE(counted, m.moments.count);
      const double width = (m.histogram_hi - m.histogram_lo) / 2048;
      std::vector<double> slow(2048), shifted(2048);
      for (const auto& row : rows)
        for (const double v : row)
          slow[std::size_t(std::clamp((v - m.histogram_lo) / width, 0.0, 2047.0))] += 1;
      double moved = 0;
      for (std::size_t i = 0; i < slow.size(); ++i)
        moved += std::abs(slow[i] - double(m.histogram[i]));
      QVERIFY2(moved <= 0.01 * double(counted), qPrintable(QString::number(moved)));
    }
    // q, k and v read the same input.
    const auto &q = got->modules.at("model.layers.0.self_attn.q_proj"),
               &v = got->modules.at("model.layers.0.self_attn.v_proj");
    QVERIFY(q.channel_sum2 == v.channel_sum2 && q.histogram == v.histogram);
    const auto& o = got->modules.at("model.layers.0.self_attn.o_proj");
    QVERIFY(o.channel_sum2 != q.channel_sum2);
  }

  void statistics_do_not_depend_on_threads() {
    const auto checkpoint = test::tiny_checkpoint();
    const Samples samples = some_samples(3, 30);
    set_thread_count(1);
    const auto one = calibrate(checkpoint, *compute_, samples, feedback_);
    set_thread_count(4);
    const auto four = calibrate(checkpoint, *compute_, samples, feedback_);
    set_thread_count(0);
    QVERIFY(one.ok() && four.ok());
    for (const auto& [name, m] : one->modules)
      QVERIFY(same(m, four->modules.at(name)));
  }

  void outlier_channels() {
    ActivationModule m;
    m.channel_min = {-1, -1, -0.5f, -9, -1};
    m.channel_max = {1, 0.5f, 1, 1, 6.1f};
    QCOMPARE(m.outlier_channels(), (std::vector<std::int64_t>{3, 4}));
    QCOMPARE(m.outlier_channels(8), (std::vector<std::int64_t>{3}));
    QVERIFY(ActivationModule().outlier_channels().empty());
    m.channel_sum2 = {1, 2};
    QCOMPARE(m.importance(), (std::vector<float>{1, 1})); // nothing seen: all equal
  }

  void cancelled_and_damaged() {
    Feedback stopped;
    stopped.stop = true;
    const auto checkpoint = test::tiny_checkpoint();
    QVERIFY(calibrate(checkpoint, *compute_, some_samples(2, 8), stopped).error().cancelled());
    QCOMPARE(calibrate(checkpoint, *compute_, {}, feedback_).error().code,
             std::string("bad-argument"));
    Module& o = checkpoint->modules[5];
    auto values = test::decode_all(o.weight);
    values[0] = INFINITY;
    o.weight = test::f32_tensor(values, o.weight.rows);
    const auto bad = calibrate(checkpoint, *compute_, some_samples(2, 8), feedback_);
    QVERIFY(!bad.ok());
    QVERIFY2(bad.error().message.find("model.layers.0.mlp.gate_proj") != std::string::npos,
             bad.error().message.c_str());
  }

  void own_file_keeps_everything() {
    const auto checkpoint = test::tiny_checkpoint();
    auto statistics = calibrate(checkpoint, *compute_, some_samples(4, 16), feedback_);
    QVERIFY(statistics.ok());
    statistics->sources = {"a \"quoted\" name.txt", "b.txt"};
    const auto path = file("own.stats");
    const auto written = write_statistics(path, *statistics, *checkpoint, "own");
    QVERIFY2(written.ok(), written ? "" : written.error().text().c_str());
    std::vector<std::string> notes;
    const auto back = read_statistics(path, *checkpoint, &notes);
    QVERIFY2(back.ok(), back ? "" : back.error().text().c_str());
    QVERIFY(notes.empty());
    QCOMPARE(back->samples, 4);
    QCOMPARE(back->tokens, 64);
    QCOMPARE(back->length, 16);
    QCOMPARE(back->sources, statistics->sources);
    QCOMPARE(back->modules.size(), statistics->modules.size());
    for (const auto& [name, m] : statistics->modules)
      QVERIFY2(same(m, back->modules.at(name)), name.c_str());
  }

  void importance_matrices_round_trip_data() {
    QTest::addColumn<QString>("format");
    QTest::newRow("gguf") << "imatrix-gguf";
    QTest::newRow("dat") << "imatrix-dat";
  }
  void importance_matrices_round_trip() {
    QFETCH(QString, format);
    const auto checkpoint = test::tiny_checkpoint();
    const auto statistics = calibrate(checkpoint, *compute_, some_samples(4, 16), feedback_);
    QVERIFY(statistics.ok());
    const auto path = file(format.toUtf8().constData());
    const auto written = write_statistics(path, *statistics, *checkpoint, format.toStdString());
    QVERIFY2(written.ok(), written ? "" : written.error().text().c_str());
    std::vector<std::string> notes;
    const auto back = read_statistics(path, *checkpoint, &notes);
    QVERIFY2(back.ok(), back ? "" : back.error().text().c_str());
    QVERIFY(notes.empty());
    QCOMPARE(back->samples, 4);
    QCOMPARE(back->modules.size(), statistics->modules.size());
    for (const auto& [name, m] : statistics->modules) {
      const auto want = m.importance(), got = back->modules.at(name).importance();
      QCOMPARE(got.size(), want.size());
      for (std::size_t i = 0; i < want.size(); ++i)
        QVERIFY(std::abs(got[i] - want[i]) <= 1e-6f * want[i]);
      QVERIFY(back->modules.at(name).histogram.empty());
    }
    if (format == "imatrix-gguf") {
      const auto gguf = read_gguf(path);
      QVERIFY(gguf.ok());
      const auto has = [&](const char* name) {
        return std::any_of(gguf->tensors.begin(), gguf->tensors.end(),
                           [&](const auto& t) { return t.name == name; });
      };
      QVERIFY(has("blk.1.ffn_down.weight.in_sum2") && has("blk.1.ffn_down.weight.counts"));
      QVERIFY(has("output.weight.in_sum2"));
    }
  }

  /// A .dat written byte by byte after the format's description.
  void foreign_dat_is_read() {
    const auto checkpoint = test::tiny_checkpoint();
    std::string dat;
    append(dat, std::int32_t(2));
    for (const std::string name : {"blk.0.attn_q.weight", "blk.7.attn_q.weight"}) {
      append(dat, std::int32_t(name.size()));
      dat += name;
      append(dat, std::int32_t(5));  // calls
      append(dat, std::int32_t(24)); // columns
      for (int i = 0; i < 24; ++i)
        append(dat, float(i) * 5);
    }
    const std::string whole = dat;
    write(file("foreign.dat"), dat); // the trailer is optional
    std::vector<std::string> notes;
    const auto got = read_statistics(file("foreign.dat"), *checkpoint, &notes);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    QCOMPARE(got->modules.size(), std::size_t(1));
    QCOMPARE(got->modules.at("model.layers.0.self_attn.q_proj").importance().at(7), 7.0f);
    QCOMPARE(notes.size(), std::size_t(1));
    QVERIFY(notes[0].find("blk.7") != std::string::npos);

    for (std::size_t cut = 0; cut < whole.size(); cut += 7) { // every truncation is refused
      write(file("cut.dat"), whole.substr(0, cut));
      QVERIFY(!read_statistics(file("cut.dat"), *checkpoint).ok());
    }
    write(file("noise.dat"), std::string(1000, '\xff'));
    QCOMPARE(read_statistics(file("noise.dat"), *checkpoint).error().code, std::string("bad-file"));
  }

  void files_that_do_not_fit_are_refused() {
    const auto checkpoint = test::tiny_checkpoint();
    const auto statistics = calibrate(checkpoint, *compute_, some_samples(2, 16), feedback_);
    QVERIFY(statistics.ok());
    test::TinyOptions o;
    o.hidden = 32;
    const auto wider = test::tiny_checkpoint(o);
    for (const char* format : {"own", "imatrix-gguf", "imatrix-dat"}) {
      const auto path = file("other");
      QVERIFY(write_statistics(path, *statistics, *checkpoint, format).ok());
      const auto refused = read_statistics(path, *wider);
      QVERIFY2(!refused.ok(), format);
      QCOMPARE(refused.error().code, std::string("mismatch"));
      QVERIFY(refused.error().message.find("another model") != std::string::npos);
    }
    QCOMPARE(write_statistics(file("x"), *statistics, *checkpoint, "csv").error().code,
             std::string("bad-argument"));
    QVERIFY(!write_statistics(file("x"), ActivationStatistics(), *checkpoint, "own").ok());
    QVERIFY(!write_statistics(file("no/folder/x"), *statistics, *checkpoint, "own").ok());
    QCOMPARE(read_statistics(file("missing"), *checkpoint).error().code, std::string("not-found"));
    write(file("empty"), "");
    QVERIFY(!read_statistics(file("empty"), *checkpoint).ok());
    // Another safetensors file, and another GGUF.
    QCOMPARE(read_statistics(test::demo_model() / "model.safetensors", *checkpoint).error().code,
             std::string("bad-file"));
    auto unknown = test::tiny_checkpoint();
    unknown->architecture = "mamba";
    QCOMPARE(write_statistics(file("x"), *statistics, *unknown, "imatrix-dat").error().code,
             std::string("unsupported"));
  }

  void demo_model_calibrates() {
    const auto checkpoint = demo();
    QVERIFY(checkpoint);
    const auto samples = calibration_samples(
        *checkpoint, {{(test::demo_model() / "calibration.txt").string(), 1}}, 4, 128, 0);
    QVERIFY2(samples.ok(), samples ? "" : samples.error().text().c_str());
    const auto got = calibrate(checkpoint, *compute_, *samples, feedback_);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    QCOMPARE(got->modules.size(), std::size_t(29)); // 7 linears in each of 4 blocks, and the head
    for (const auto& [name, m] : got->modules)
      QCOMPARE(m.tokens, 512u);
  }
};

QTEST_GUILESS_MAIN(TestCalib)
#include "tst_calib.moc"
