// SPDX-License-Identifier: GPL-3.0-or-later
// Memory does not grow with the model: quantizing, exporting with everything that is checked
// afterwards, opening, verifying and exporting again are done with a model and with one of four
// times as many blocks, in a process of their own each. Anonymous memory counts, which is what
// peak_rss_bytes reports; figures are printed.
#include "tests/make_big.h"
#include "tests/support.h"

#include <QProcess>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

constexpr std::int64_t sizes[] = {4, 16};
/// What the larger model may take more: notes, tables of tensors, how malloc happens to grow. Its
/// packed weights alone would be several times as much.
constexpr std::int64_t allowed = 24'000'000;

Json cli(const QStringList& arguments) {
  QProcess process;
  process.start(QString(BITLATHE_BIN_DIR) + "/bitlathe-cli", arguments + QStringList{"--json"});
  if (!process.waitForFinished(240000))
    return {};
  auto json = Json::parse(process.readAllStandardOutput().toStdString(), nullptr, false);
  if (process.exitCode() != 0)
    qWarning("%s", process.readAllStandardError().constData());
  return json.is_object() ? json : Json::object();
}

} // namespace

class ExportMemory : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  fs::path path(const std::string& name) const {
    return fs::path(dir_.path().toStdString()) / name;
  }
  QString text(const std::string& name) const {
    return QString::fromStdString(path(name).string());
  }

 private Q_SLOTS:
  void initTestCase();
  void stays_small_data();
  void stays_small();
};

void ExportMemory::initTestCase() {
  BigModel model;
  model.hidden = 1024;
  model.ffn = 2816;
  model.heads = model.kv_heads = 8;
  model.vocab = 4096;
  model.filled = [](const std::string& name) { return name.find("norm") == std::string::npos; };
  for (const auto layers : sizes) {
    model.layers = layers;
    make_big_folder(path("model" + std::to_string(layers)), model);
  }
}

void ExportMemory::stays_small_data() {
  QTest::addColumn<QString>("format");
  QTest::addColumn<QString>("scheme");
  QTest::addColumn<QString>("activations");
  const auto row = [](const char* format, const char* scheme, const char* activations = "none") {
    QTest::addRow("%s %s %s", format, scheme, activations) << format << scheme << activations;
  };
  row("gptq", "int4-g128-sym");
  row("awq", "int4-g128-asym");
  row("bnb", "nf4-b64");
  row("bnb", "int8-channel-sym", "llm-int8");
  row("compressed-tensors", "int4-g128-asym");
  row("compressed-tensors", "int8-channel-sym", "int8-token-dynamic");
  row("compressed-tensors", "nvfp4-sf32");
  row("mlx", "int4-g64-asym");
  row("safetensors", "f8_e4m3-channel-sf32");
  row("gguf", "q4_k");
  row("onnx", "int4-g32-sym");
}

void ExportMemory::stays_small() {
  QFETCH(QString, format);
  QFETCH(QString, scheme);
  QFETCH(QString, activations);
  std::map<QString, std::vector<std::int64_t>> peaks; ///< by step, in the order of the sizes
  for (const auto layers : sizes) {
    const QString model = text("model" + std::to_string(layers));
    const QString out = text("out"), again = text("again");
    const auto step = [&](const QString& name, const QStringList& arguments) {
      const Json told = cli(arguments);
      const auto peak = told.value("peak_rss_bytes", std::int64_t(-1));
      if (peak < 0)
        QTest::qFail(qPrintable(name + ": " + QString::fromStdString(told.dump().substr(0, 2000))),
                     __FILE__, __LINE__);
      peaks[name].push_back(peak);
      return told;
    };
    const Json made =
        step("quantize", {"quantize", model, "--scheme", scheme, "--activations", activations,
                          "--format", format, "--accept-warnings", "-o", out});
    if (!made.contains("output"))
      return;
    if (format != "onnx") { // no model of ours
      const auto written = QString::fromStdString(made["output"].get<std::string>());
      step("info", {"info", written});
      step("verify", {"verify", written, "--against", model});
      step("export again",
           {"export", written, "--format", format, "--accept-warnings", "-o", again});
    }
    fs::remove_all(path("out"));
    fs::remove_all(path("again"));
  }
  QString figures;
  for (const auto& [name, of] : peaks)
    figures += QStringLiteral("%1 %2 and %3 MB; ")
                   .arg(name)
                   .arg(double(of.front()) * 1e-6, 0, 'f', 1)
                   .arg(double(of.back()) * 1e-6, 0, 'f', 1);
  qInfo("%s", qPrintable(figures));
  for (const auto& [name, of] : peaks)
    QVERIFY2(of.size() == 2 && of.back() - of.front() <= allowed, qPrintable(name));
}

QTEST_GUILESS_MAIN(ExportMemory)
#include "tst_export_memory.moc"
