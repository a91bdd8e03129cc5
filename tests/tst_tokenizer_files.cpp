// SPDX-License-Identifier: GPL-3.0-or-later
// Tokenizers in other files than tokenizer.json: SentencePiece models, tiktoken, vocabularies in
// parts, every kind that GGUF files carry; and the larger ones of the shared reference data against
// ids of sentencepiece and of the npm package `tokenizers` (tests/golden/shared_tokenizers.json).
#include "core/io/gguf.h"
#include "core/text/tokenizer.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

#include <cstring>
#include <fstream>

using namespace bitlathe;
using Ids = std::vector<std::int32_t>;
using Loaded = Result<std::shared_ptr<const Tokenizer>>;
namespace fs = std::filesystem;

namespace {

void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// The two wire types of a protocol buffer that a SentencePiece model needs.
std::string field(int number, const std::string& bytes) {
  return std::string(1, char(number << 3 | 2)) + char((bytes.size() & 0x7F) | 0x80) +
         char(bytes.size() >> 7) + bytes;
}
std::string field(int number, int value) {
  return (number < 16 ? std::string(1, char(number << 3))
                      : std::string{char((number << 3 & 0x7F) | 0x80), char(number >> 4)}) +
         char(value);
}
std::string piece(const std::string& text, float score, int type) {
  char bits[4];
  std::memcpy(bits, &score, 4);
  return field(1, field(1, text) + char(2 << 3 | 5) + std::string(bits, 4) + field(3, type));
}

/// As protobuf writes it, the length of a short piece is one byte.
std::string first_piece() {
  const std::string body = std::string("\x0A\x05<unk>\x15\0\0\0\0\x18\x02", 14);
  return "\x0A" + std::string(1, char(body.size())) + body;
}

std::string sentencepiece_model(int type, bool extra_spaces_go) {
  std::string out = first_piece();
  out += piece("<s>", 0, 3) + piece("</s>", 0, 3);
  out += piece("\u2581", -3.0f, 1) + piece("a", -2.0f, 1) + piece("b", -2.5f, 1) +
         piece("ab", -1.0f, 1) + piece("\u2581ab", -0.5f, 1) + piece("[user]", 0, 4);
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", unsigned(b));
    out += piece(name, 0, 6);
  }
  out += field(2, field(3, type) + field(35, 1));
  out += field(3, field(3, 1) + field(4, extra_spaces_go ? 1 : 0) + field(5, 1));
  return out;
}

Loaded through_gguf(const Tokenizer& tokenizer) {
  auto metadata = tokenizer.to_gguf(tokenizer.vocab_size());
  if (!metadata)
    return metadata.error();
  return Tokenizer::from_gguf(*metadata, "a GGUF in memory");
}

} // namespace

class TestTokenizerFiles : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void sentencepiece_data();
  void sentencepiece();
  void sentencepiece_damaged();
  void tiktoken();
  void tiktoken_damaged();
  void vocab_and_merges();
  void vocab_txt();
  void chat_templates();
  void gguf_pre_tokenizers_data();
  void gguf_pre_tokenizers();
  void gguf_other_kinds();
  void shared_data();
  void shared();
};

void TestTokenizerFiles::sentencepiece_data() {
  QTest::addColumn<int>("type");
  QTest::newRow("unigram") << 1;
  QTest::newRow("byte-pair encoding") << 2;
}

void TestTokenizerFiles::sentencepiece() {
  QFETCH(int, type);
  QTemporaryDir dir;
  const fs::path folder = dir.path().toStdString();
  put(folder / "tokenizer.model", sentencepiece_model(type, true));
  auto t = Tokenizer::from_folder(folder);
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QCOMPARE((*t)->kind(), std::string(type == 1 ? "unigram" : "spm-bpe"));
  QCOMPARE((*t)->notes().size(), std::size_t(1)); // nothing says what begins a text
  QCOMPARE((*t)->encode("  ab   ab "), (Ids{7, 7}));
  QCOMPARE((*t)->encode("a[user]b"), (Ids{3, 4, 8, 5}));
  QCOMPARE((*t)->encode("\u00e9"), (Ids{3, 9 + 0xC3, 9 + 0xA9}));
  QCOMPARE((*t)->encode("<s>ab", {true, true}), (Ids{1, 7}));
  QCOMPARE((*t)->decode((*t)->encode("ab \u00e9 b")), std::string("ab \u00e9 b"));
  QCOMPARE((*t)->token_kind(8), TokenKind::user_defined);
  const auto back = through_gguf(**t);
  QVERIFY2(back.ok(), back.ok() ? "" : back.error().text().c_str());
  const std::string text = type == 1 ? "ab a b" : "ab a\u00e9b"; // llama.cpp spells no bytes there
  QCOMPARE((*back)->encode(text, {false, false}), (*t)->encode(text));

  put(folder / "tokenizer_config.json",
      R"({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "legacy": false,
          "added_tokens_decoder": {"265": {"content": "<extra>", "special": true}}})");
  t = Tokenizer::from_folder(folder);
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QCOMPARE((*t)->encode("ab"), (Ids{1, 7}));
  QCOMPARE((*t)->encode("ab<extra>ab", {true, true}), (Ids{1, 7, 265, 6}));
}

void TestTokenizerFiles::sentencepiece_damaged() {
  QTemporaryDir dir;
  const fs::path file = fs::path(dir.path().toStdString()) / "tokenizer.model";
  const auto whole = sentencepiece_model(2, false);
  for (std::size_t length = 0; length < whole.size(); length += 61) {
    put(file, whole.substr(0, length));
    const auto t = Tokenizer::from_folder(file.parent_path()); // must not crash; most are errors
    QVERIFY(t.ok() || t.error().where.find("tokenizer.model") != std::string::npos);
  }
  for (std::size_t at = 0; at < whole.size(); at += 13) {
    auto changed = whole;
    changed[at] = char(changed[at] ^ 0xA5);
    put(file, changed);
    const auto t = Tokenizer::from_folder(file.parent_path());
    if (t.ok())
      (*t)->encode("some text ab \u00e9");
  }
  put(file, sentencepiece_model(3, false));
  QCOMPARE(Tokenizer::from_folder(file.parent_path()).error().code, std::string("unsupported"));
}

void TestTokenizerFiles::tiktoken() {
  QTemporaryDir dir;
  const fs::path folder = dir.path().toStdString();
  std::string text;
  int rank = 0;
  const auto add = [&](const std::string& token) {
    text += QByteArray::fromStdString(token).toBase64().toStdString() + " " +
            std::to_string(rank++) + "\n";
  };
  for (int b = 0; b < 256; ++b)
    add(std::string(1, char(b)));
  for (const char* token : {"he", "ll", "hell", "hello", " he", "lo"})
    add(token);
  put(folder / "tokenizer.model", text);
  auto t = Tokenizer::from_folder(folder);
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QVERIFY((*t)->notes().at(0).find("262") != std::string::npos);
  QCOMPARE((*t)->encode("hello"), (Ids{259}));
  QCOMPARE((*t)->encode("hell lo"), (Ids{258, ' ', 261}));
  const std::string any = "h\u00e9llo \U0001F642\n  x";
  QCOMPARE((*t)->decode((*t)->encode(any)), any);

  fs::remove(folder / "tokenizer.model");
  put(folder / "my_cl100k_base.tiktoken", text); // known by its name
  t = Tokenizer::from_folder(folder);
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QVERIFY((*t)->notes().at(0).find("cl100k") != std::string::npos);
  QCOMPARE((*t)->token((*t)->eos()), std::string("<|endoftext|>"));
}

void TestTokenizerFiles::tiktoken_damaged() {
  QTemporaryDir dir;
  const fs::path folder = dir.path().toStdString();
  for (const char* text : {"aGU= 0\naGU= 1\n", "aGU= 0\n!!! 1\n", "aGU= 0\naGk= x\n",
                           "aGU= 0\naGk= 0\n", "aGU= 0\nnonsense\n", "aGU= 99999999999999\n"}) {
    put(folder / "x.tiktoken", text);
    const auto t = Tokenizer::from_folder(folder);
    QVERIFY2(!t.ok(), text);
    QVERIFY(t.error().where.find("x.tiktoken") != std::string::npos);
  }
}

void TestTokenizerFiles::vocab_and_merges() {
  QTemporaryDir dir;
  const fs::path folder = dir.path().toStdString();
  put(folder / "vocab.json", R"({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4, "1": 5, "2": 6,
                                 "12": 7, "<|endoftext|>": 8})");
  put(folder / "merges.txt", "#version: 0.2\na b\nĠ ab\r\n1 2\n\n");
  auto t = Tokenizer::from_folder(folder);
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QCOMPARE((*t)->encode("ab ab12"), (Ids{2, 4, 7}));
  QCOMPARE((*t)->encode("ab<|endoftext|>", {true, true}), (Ids{2, 8}));
  QVERIFY((*t)->notes().empty());
  put(folder / "tokenizer_config.json",
      R"({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>",
          "added_tokens_decoder": {"8": {"content": "<|endoftext|>", "special": true},
                                   "9": {"content": "<|im_start|>", "special": true}}})");
  t = Tokenizer::from_folder(folder);
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QCOMPARE((*t)->encode("12"), (Ids{5, 6})); // digits stand alone there
  QCOMPARE((*t)->encode("<|im_start|>ab", {true, true}), (Ids{9, 2}));
  QCOMPARE((*t)->eos(), 8);
  put(folder / "tokenizer_config.json", R"({"tokenizer_class": "MagicTokenizer"})");
  t = Tokenizer::from_folder(folder);
  QVERIFY(t.ok() && (*t)->notes().at(0).find("MagicTokenizer") != std::string::npos);
}

void TestTokenizerFiles::vocab_txt() {
  QTemporaryDir dir;
  const fs::path folder = dir.path().toStdString();
  put(folder / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\nworld\n!\n");
  auto t = Tokenizer::from_folder(folder);
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QCOMPARE((*t)->kind(), std::string("wordpiece"));
  QCOMPARE((*t)->encode("Hellos w\u00f6rld! zz"), (Ids{2, 5, 6, 7, 8, 1, 3}));
  QCOMPARE((*t)->decode((*t)->encode("hellos world !")), std::string("hellos world!"));
  const auto back = through_gguf(**t);
  QVERIFY2(back.ok(), back.ok() ? "" : back.error().text().c_str());
  QCOMPARE((*back)->encode("Hellos w\u00f6rld! zz"), (Ids{2, 5, 6, 7, 8, 1, 3}));
}

void TestTokenizerFiles::chat_templates() {
  QTemporaryDir dir;
  const fs::path folder = dir.path().toStdString();
  put(folder / "vocab.txt", "[UNK]\nhello\n");
  const auto chat = [&] {
    const auto t = Tokenizer::from_folder(folder);
    return t ? (*t)->chat_template() : t.error().text();
  };
  QCOMPARE(chat(), std::string());
  put(folder / "tokenizer_config.json", R"({"chat_template": "one"})");
  QCOMPARE(chat(), std::string("one"));
  put(folder / "tokenizer_config.json", R"({"chat_template":
      [{"name": "tool", "template": "t"}, {"name": "default", "template": "two"}]})");
  QCOMPARE(chat(), std::string("two"));
  put(folder / "chat_template.json", R"({"chat_template": "three"})");
  QCOMPARE(chat(), std::string("three"));
  put(folder / "chat_template.jinja", "four\n");
  QCOMPARE(chat(), std::string("four\n"));
}

void TestTokenizerFiles::gguf_pre_tokenizers_data() {
  QTest::addColumn<QString>("name");
  for (const char* name :
       {"default",      "llama3",     "llama-bpe",     "deepseek-llm", "deepseek-coder",
        "deepseek-v3",  "falcon",     "mpt",           "starcoder",    "gpt-2",
        "refact",       "command-r",  "qwen2",         "stablelm2",    "olmo",
        "dbrx",         "smaug-bpe",  "poro-chat",     "chatglm-bpe",  "viking",
        "jais",         "jais-2",     "tekken",        "smollm",       "codeshell",
        "bloom",        "exaone",     "chameleon",     "minerva-7b",   "gpt-4o",
        "superbpe",     "trillion",   "seed-coder",    "hunyuan",      "kimi-k2",
        "afmoe",        "exaone-moe", "hunyuan-dense", "bailingmoe",   "tiny_aya",
        "minicpm5",     "youtu",      "spark2_5",      "qwen35",       "granite-embed-multi-97m",
        "gpt3-finnish", "grok-2",     "laguna",        "ufakzeka"})
    QTest::newRow(name) << name;
}

void TestTokenizerFiles::gguf_pre_tokenizers() {
  QFETCH(QString, name);
  const auto demo = Tokenizer::from_folder(test::demo_model());
  QVERIFY(demo.ok());
  auto metadata = (*demo)->to_gguf(2048);
  QVERIFY(metadata.ok());
  for (auto& [key, value] : *metadata)
    if (key == "tokenizer.ggml.pre" || key == "tokenizer.ggml.add_bos_token")
      value = key == "tokenizer.ggml.pre" ? GgufValue::string(name.toStdString())
                                          : GgufValue::boolean(false);
  const auto t = Tokenizer::from_gguf(*metadata, "x.gguf");
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QVERIFY((*t)->notes().empty());
  const std::string text = "Hello  World's 1234567 caf\u00e9 \u6f22\u5b57\u304b\u306a!?\n\n  x\t";
  QCOMPARE((*t)->decode((*t)->encode(text)), text); // splitting loses nothing
  for (auto& [key, value] : *metadata)
    if (key == "tokenizer.ggml.pre")
      value = GgufValue::string("nonsense");
  const auto unknown = Tokenizer::from_gguf(*metadata, "x.gguf");
  QVERIFY(unknown.ok());
  QVERIFY((*unknown)->notes().at(0).find("\"nonsense\" is not known") != std::string::npos);
}

void TestTokenizerFiles::gguf_other_kinds() {
  GgufMetadata metadata{
      {"tokenizer.ggml.model", GgufValue::string("rwkv")},
      {"tokenizer.ggml.tokens", GgufValue::strings({"<s>", "a", "ab", "\\n", "\\xc3\\xa9", "b "})}};
  auto t = Tokenizer::from_gguf(metadata, "x");
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  QCOMPARE((*t)->encode("ab\n\u00e9"), (Ids{2, 3, 4}));
  QCOMPARE((*t)->decode(Ids{2, 3, 4}), std::string("ab\n\u00e9"));
  for (const char* model : {"t5", "bert", "gemma4", "llama"}) { // no more keys than that
    metadata[0].second = GgufValue::string(model);
    t = Tokenizer::from_gguf(metadata, "x");
    QVERIFY(t.ok() || t.error().where == "x");
    if (t.ok())
      (*t)->encode("ab\u00e9 <s>", {false, true});
  }
  metadata[0].second = GgufValue::string("plamo2");
  QCOMPARE(Tokenizer::from_gguf(metadata, "x").error().code, std::string("unsupported"));
}

void TestTokenizerFiles::shared_data() {
  QTest::addColumn<QByteArray>("entry");
  const auto golden =
      read_json_file(test::source_dir() / "tests" / "golden" / "shared_tokenizers.json");
  QVERIFY(golden.ok());
  for (Json entry : (*golden)["files"]) {
    entry["texts"] = (*golden)["texts"];
    QTest::newRow(entry["file"].get<std::string>().c_str())
        << QByteArray::fromStdString(entry.dump());
  }
}

void TestTokenizerFiles::shared() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("The shared reference data is not here");
  QFETCH(QByteArray, entry);
  const Json json = Json::parse(entry.toStdString());
  const auto t = Tokenizer::from_folder(*data / "tokenizers" / json["file"].get<std::string>());
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  for (std::size_t i = 0; i < json["texts"].size(); ++i) {
    const auto text = json["texts"][i].get<std::string>();
    const Ids ids = (*t)->encode(text, {json["add_special"].get<bool>(), false});
    QVERIFY2(ids == json["ids"][i].get<Ids>(), (text + ": " + Json(ids).dump()).c_str());
  }
}

QTEST_GUILESS_MAIN(TestTokenizerFiles)
#include "tst_tokenizer_files.moc"
