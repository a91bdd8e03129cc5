// SPDX-License-Identifier: GPL-3.0-or-later
// Perplexities of llama.cpp's own GGUF files against what llama-perplexity prints for them (PPL.txt
// beside the files). 1e-3 relative for float and q8_0 files; 3e-3 for the others, whose products
// llama.cpp makes with activations rounded to 8 bits, and this engine with f32. Three quick files
// by default, all with BITLATHE_SLOW_TESTS=1.
#include "core/eval/eval.h"
#include "core/io/files.h"
#include "tests/support.h"

#include <QTest>

using namespace bitlathe;

class TestGgufPerplexity : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void as_llama_cpp_data();
  void as_llama_cpp();
};

void TestGgufPerplexity::as_llama_cpp_data() {
  QTest::addColumn<QString>("text");
  QTest::addColumn<int>("chunks");
  QTest::addColumn<double>("theirs");
  QTest::addColumn<double>("tolerance");
  QTest::addColumn<bool>("quick");
  struct File {
    const char* type;
    double perplexity;
  };
  const auto model = [](const char* name, const char* text, int chunks, const char* quick,
                        const std::vector<File>& files) {
    for (const auto& [type, perplexity] : files) {
      const QString kind = QString::fromLatin1(type).toUpper();
      const bool exact = kind == "F32" || kind == "F16" || kind == "BF16" || kind == "Q8_0";
      QTest::addRow("%s.%s.gguf", name, type)
          << QString::fromLatin1(text) << chunks << perplexity << (exact ? 1e-3 : 3e-3)
          << (kind == QLatin1String(quick));
    }
  };
  model("demo-4m", "models/demo-4m/evaluation.txt", 100, "Q4_K_M",
        {{"F16", 8.7955},
         {"Q8_0", 8.7979},
         {"Q6_K", 8.8053},
         {"Q5_K_M", 8.8185},
         {"Q5_1", 8.8187},
         {"Q5_0", 8.8485},
         {"Q4_K_M", 8.8336},
         {"Q4_1", 8.8656},
         {"IQ4_NL", 8.8047},
         {"IQ4_XS", 8.8049},
         {"Q4_0", 8.9264},
         {"Q3_K_M", 9.0226},
         {"Q2_K", 9.9030}});
  model("tinystories-656k", "text/tinystories_minigpt.656k-charset.txt", 0, "IQ4_NL",
        {{"f32", 30.4094},
         {"F16", 30.4098},
         {"BF16", 30.4081},
         {"Q8_0", 30.4156},
         {"Q5_1", 30.6820},
         {"Q5_0", 30.7390},
         {"Q4_K_M", 30.7109},
         {"Q4_1", 31.4542},
         {"IQ4_NL", 32.0610},
         {"Q4_0", 32.3671}});
  model("stories260K", "text/tinystories_minigpt.txt", 0, "Q4_K_M",
        {{"f32", 6.0482}, {"F16", 6.0480}, {"Q4_K_M", 6.1647}});
}

void TestGgufPerplexity::as_llama_cpp() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  QFETCH(QString, text);
  QFETCH(int, chunks);
  QFETCH(double, theirs);
  QFETCH(double, tolerance);
  QFETCH(bool, quick);
  if (!quick && !std::getenv("BITLATHE_SLOW_TESTS"))
    QSKIP("set BITLATHE_SLOW_TESTS=1 to compare all of llama.cpp's files");
  const auto path = *data / "gguf" / QTest::currentDataTag();
  const auto checkpoint = open_checkpoint(path);
  QVERIFY2(checkpoint.ok(), checkpoint ? "" : checkpoint.error().text().c_str());
  for (const Module& module : (*checkpoint)->modules) // packed, and where the file has them
    QVERIFY2(module.weight.owned_codes.empty() || module.weight.rows == 1, module.name.c_str());
  auto compute = make_cpu_compute();
  QVERIFY(compute.ok());
  const auto engine = Engine::create(*checkpoint, **compute);
  QVERIFY2(engine.ok(), engine ? "" : engine.error().text().c_str());
  const auto content = read_file(*data / text.toStdString());
  QVERIFY(content.ok());
  const auto windows = make_eval_text(**checkpoint, *content, 256, chunks);
  QVERIFY2(windows.ok(), windows ? "" : windows.error().text().c_str());
  Feedback feedback;
  const auto ours = perplexity(**engine, *windows, feedback);
  QVERIFY2(ours.ok(), ours ? "" : ours.error().text().c_str());
  const double off = ours->perplexity / theirs - 1;
  qInfo("%.4f here, %.4f by llama.cpp, %+.2e; %lld windows in %.1f s", ours->perplexity, theirs,
        off, static_cast<long long>(ours->windows), ours->seconds);
  // The reference is printed with four decimals.
  QVERIFY(std::fabs(off) <= tolerance + 5e-5 / theirs);
}

QTEST_GUILESS_MAIN(TestGgufPerplexity)
#include "tst_gguf_perplexity.moc"
