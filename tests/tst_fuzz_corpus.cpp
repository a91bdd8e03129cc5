// SPDX-License-Identifier: GPL-3.0-or-later
// Replays what fuzzing found and grew on (tests/fuzz/corpus/NAME) through the functions that are
// fuzzed: nothing may crash, hang or allocate without bound. Damaged variants are made here too.
#include "tests/fuzz/fuzz.h"
#include "tests/support.h"

#include <algorithm>
#include <fstream>
#include <QElapsedTimer>
#include <QTest>
#include <random>
#include <sstream>

using namespace bitlathe;

class TestFuzzCorpus : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void replay_data() {
    QTest::addColumn<QString>("name");
    for (const char* name : {"safetensors", "gguf", "onnx", "tokenizer", "template"})
      QTest::newRow(name) << name;
  }
  void replay() {
    QFETCH(QString, name);
    const auto parse = name == "safetensors" ? fuzz::safetensors
                       : name == "gguf"      ? fuzz::gguf
                       : name == "onnx"      ? fuzz::onnx
                       : name == "tokenizer" ? fuzz::tokenizer
                                             : fuzz::chat_template;
    const auto folder = test::source_dir() / "tests" / "fuzz" / "corpus" / name.toStdString();
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    QVERIFY(!files.empty());
    std::mt19937 random(20260307);
    for (const auto& file : files) {
      std::ifstream in(file, std::ios::binary);
      std::ostringstream all;
      all << in.rdbuf();
      const std::string text = all.str();
      QElapsedTimer timer;
      timer.start();
      parse(text);
      for (int i = 0; i < 6 && !text.empty(); ++i) { // cut short, bits turned
        std::string damaged = text.substr(0, i < 2 ? random() % text.size() : text.size());
        for (int k = 0; k < i && !damaged.empty(); ++k)
          damaged[random() % damaged.size()] ^= char(1u << random() % 8);
        parse(damaged);
      }
      QVERIFY2(timer.elapsed() < 20000, file.c_str());
    }
  }
};

QTEST_GUILESS_MAIN(TestFuzzCorpus)
#include "tst_fuzz_corpus.moc"
