// SPDX-License-Identifier: GPL-3.0-or-later
// Tokenizers against ids of the npm package `tokenizers` (tests/golden/tokenizers.json, made by
// `tests/peers/run --golden`), against llama.cpp's vectors, through GGUF and back, and on files
// that are damaged or ask for something else.
#include "core/text/tokenizer.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

using namespace bitlathe;
using Ids = std::vector<std::int32_t>;
using Loaded = Result<std::shared_ptr<const Tokenizer>>;

namespace {

const auto golden_file = test::source_dir() / "tests" / "golden" / "tokenizers.json";

Loaded from_json(const Json& tokenizer, const Json& config = Json::object()) {
  QTemporaryDir dir;
  const std::filesystem::path folder = dir.path().toStdString();
  std::ofstream(folder / "tokenizer.json") << tokenizer.dump();
  if (!config.empty())
    std::ofstream(folder / "tokenizer_config.json") << config.dump();
  return Tokenizer::from_folder(folder);
}

Loaded from_text(const std::string& text) {
  QTemporaryDir dir;
  const std::filesystem::path folder = dir.path().toStdString();
  std::ofstream(folder / "tokenizer.json", std::ios::binary) << text;
  return Tokenizer::from_folder(folder);
}

/// A small SentencePiece-style file to break in one place at a time.
Json small_file() {
  return Json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<unk>", "special": true},
                     {"id": 1, "content": "<s>", "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null,
    "post_processor": null,
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
      "vocab": {"<unk>": 0, "<s>": 1, "▁": 2, "a": 3, "b": 4, "ab": 5, "▁ab": 6},
      "merges": ["a b", "▁ ab"]}})");
}

QByteArray joined(const Ids& ids) {
  QByteArray out;
  for (const auto id : ids)
    out += QByteArray::number(id) + ' ';
  return out;
}

std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

Loaded through_gguf(const Tokenizer& tokenizer, std::int64_t rows) {
  auto metadata = tokenizer.to_gguf(rows);
  if (!metadata)
    return metadata.error();
  return Tokenizer::from_gguf(*metadata, "a GGUF in memory");
}

} // namespace

class TestTokenizer : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void golden_ids_data();
  void golden_ids();
  void demo_facts();
  void demo_round_trip();
  void bytes_that_are_no_text();
  void pieces_make_the_text();
  void bos_without_post_processor();
  void gguf_round_trip();
  void gguf_fillers();
  void gguf_refuses();
  void gguf_damaged_data();
  void gguf_damaged();
  void damaged_data();
  void damaged();
  void truncated_anywhere();
  void missing();
  void llama_cpp_vectors_data();
  void llama_cpp_vectors();
  void shared_models_agree_with_their_gguf();
  void fast();
  void threads();
};

void TestTokenizer::golden_ids_data() {
  QTest::addColumn<QByteArray>("entry");
  const auto entries = read_json_file(golden_file);
  QVERIFY2(entries.ok(), "golden file");
  for (const auto& entry : *entries)
    QTest::newRow(entry["name"].get<std::string>().c_str())
        << QByteArray::fromStdString(entry.dump());
}

void TestTokenizer::golden_ids() {
  QFETCH(QByteArray, entry);
  const Json json = Json::parse(entry.toStdString());
  const auto tokenizer =
      json.contains("folder")
          ? Tokenizer::from_folder(test::source_dir() / json["folder"].get<std::string>())
          : from_json(json["tokenizer"]);
  QVERIFY2(tokenizer.ok(), tokenizer.ok() ? "" : tokenizer.error().text().c_str());
  for (std::size_t i = 0; i < json["texts"].size(); ++i) {
    const auto text = json["texts"][i].get<std::string>();
    for (const bool parse_special : {false, true}) {
      const Json& expected = json["results"][i][parse_special];
      const Ids ids = (*tokenizer)->encode(text, {true, parse_special});
      QVERIFY2(ids == expected[0].get<Ids>(),
               (text + "\n ours " + joined(ids).toStdString() + "\n npm  " + expected[0].dump())
                   .c_str());
      const auto reference = expected[1].get<std::string>();
      // The package shows bytes that are no text as U+FFFD, and normalized added tokens in their
      // normal form; we give the bytes and the tokens themselves.
      if (reference.find("\uFFFD") == std::string::npos && entry.indexOf("\"normalized\":true") < 0)
        QCOMPARE((*tokenizer)->decode(ids, false), reference);
    }
  }
}

void TestTokenizer::demo_facts() {
  const auto loaded = Tokenizer::from_folder(test::demo_model());
  QVERIFY(loaded.ok());
  const Tokenizer& t = **loaded;
  QCOMPARE(t.kind(), std::string("byte-bpe"));
  QCOMPARE(t.vocab_size(), std::int64_t(2048));
  QCOMPARE(t.bos(), -1);
  QCOMPARE(t.eos(), 0);
  QCOMPARE(t.pad(), 3);
  QCOMPARE(t.unk(), -1);
  QVERIFY(!t.adds_bos() && !t.adds_eos());
  QCOMPARE(t.token(0), std::string("<|end|>"));
  QVERIFY(t.token_kind(0) == TokenKind::control && t.token_kind(4) == TokenKind::normal);
  QVERIFY(t.token_kind(-1) == TokenKind::unused && t.token_kind(2048) == TokenKind::unused);
  QVERIFY(t.token(99999).empty() && t.piece(-5).empty());
  QVERIFY(t.chat_template().find("User: ") != std::string::npos);
  QVERIFY(t.gguf_notes().empty());
  QCOMPARE(t.decode(Ids{0, 43, 3}), std::string("H"));
  QCOMPARE(t.decode(Ids{0, 43, 99999, -1}, false), std::string("<|end|>H"));
}

void TestTokenizer::demo_round_trip() {
  const auto loaded = Tokenizer::from_folder(test::demo_model());
  QVERIFY(loaded.ok());
  const auto text = file_text(test::demo_model() / "evaluation.txt");
  QVERIFY(text.size() > 200000);
  const Ids ids = (*loaded)->encode(text);
  QCOMPARE((*loaded)->decode(ids), text);
  // A byte-level tokenizer gives the same ids whether it sees a text whole or cut before a space
  // between words.
  const auto cut = text.find("e the ", text.size() / 2) + 1;
  Ids parts = (*loaded)->encode(text.substr(0, cut));
  const Ids second = (*loaded)->encode(text.substr(cut));
  parts.insert(parts.end(), second.begin(), second.end());
  QVERIFY(parts == ids);
}

void TestTokenizer::bytes_that_are_no_text() {
  const auto loaded = Tokenizer::from_folder(test::demo_model());
  QVERIFY(loaded.ok());
  const auto& t = **loaded;
  const std::pair<std::string, std::string> cases[] = {
      {"a\xFF"
       "b",
       "a\uFFFDb"},
      {"\xC3", "\uFFFD"},
      {"\xE2\x82", "\uFFFD"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"}, // a surrogate is three bad bytes
      {"\xF0\x9F\x99", "\uFFFD"},
      {"\xF5\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},
      {"\xF0\x9F\x99\x82\x80z", "\xF0\x9F\x99\x82\uFFFDz"}};
  for (const auto& [bytes, text] : cases)
    QCOMPARE(t.decode(t.encode(bytes)), text);
  // Ids may end inside a character.
  Ids ids = t.encode("\xF0\x9F\x99\x82");
  ids.pop_back();
  QVERIFY(t.decode(ids).size() < 4 && std::string("\xF0\x9F\x99\x82").find(t.decode(ids)) == 0);
}

void TestTokenizer::pieces_make_the_text() {
  const auto entries = read_json_file(golden_file);
  QVERIFY(entries.ok());
  const auto demo = Tokenizer::from_folder(test::demo_model());
  const auto spm = from_json((*entries)[0]["tokenizer"]);
  QVERIFY(demo.ok() && spm.ok());
  for (const auto& t : {*demo, *spm}) {
    std::string shown;
    for (const auto id : t->encode("the cat 🙂\nthe  hat"))
      shown += t->piece(id);
    if (t->kind() == "spm-bpe")
      QVERIFY(shown.at(0) == ' '); // the space in front is only taken off a whole text
    QCOMPARE(t->kind() == "spm-bpe" ? shown.substr(1) : shown,
             std::string("the cat 🙂\nthe  hat"));
  }
}

void TestTokenizer::bos_without_post_processor() {
  const Json names{{"bos_token", {{"content", "<s>"}}}, {"unk_token", "<unk>"}};
  auto config = names;
  const auto ids = [&](bool add_special) {
    const auto t = from_json(small_file(), config);
    return t ? (*t)->encode("ab", {add_special, false}) : Ids{-99};
  };
  QCOMPARE(ids(true), (Ids{6}));
  config["tokenizer_class"] = "LlamaTokenizerFast"; // adds BOS unless told otherwise
  QCOMPARE(ids(true), (Ids{1, 6}));
  QCOMPARE(ids(false), (Ids{6}));
  config["add_bos_token"] = false;
  QCOMPARE(ids(true), (Ids{6}));
  config = names;
  config["add_bos_token"] = true;
  QCOMPARE(ids(true), (Ids{1, 6}));
  config.erase("bos_token");
  QCOMPARE(ids(true), (Ids{-99}));
  config = {{"bos_token", "<none>"}}; // said in a note
  QCOMPARE(ids(true), (Ids{6}));
  config = {{"pad_token", "<none>"}}; // training code would add it; no text has it
  QCOMPARE(ids(true), (Ids{6}));
}

void TestTokenizer::gguf_round_trip() {
  const auto entries = read_json_file(golden_file);
  QVERIFY(entries.ok());
  int written = 0;
  for (const auto& entry : *entries) {
    const auto t =
        entry.contains("folder")
            ? Tokenizer::from_folder(test::source_dir() / entry["folder"].get<std::string>())
            : from_json(entry["tokenizer"]);
    QVERIFY(t.ok());
    const auto name = entry["name"].get<std::string>();
    const auto back = through_gguf(**t, (*t)->vocab_size());
    if (!back) { // some of them llama.cpp cannot do; then it is said
      QCOMPARE(back.error().code, std::string("unsupported"));
      QVERIFY(!(*t)->gguf_notes().empty());
      continue;
    }
    ++written;
    QCOMPARE((*back)->bos(), (*t)->bos());
    QCOMPARE((*back)->adds_bos(), (*t)->adds_bos());
    QCOMPARE((*back)->adds_eos(), (*t)->adds_eos());
    QCOMPARE((*back)->unk(), (*t)->unk());
    if ((*t)->pad() >= 0) // else llama.cpp has a default for some kinds
      QCOMPARE((*back)->pad(), (*t)->pad());
    QCOMPARE((*back)->chat_template(), (*t)->chat_template());
    for (std::int32_t id = 0; id < (*t)->vocab_size(); ++id) {
      if ((*t)->kind() != "wordpiece") // spelled differently there
        QCOMPARE((*back)->token(id), (*t)->token(id));
      QVERIFY((*back)->token_kind(id) == (*t)->token_kind(id) || (*t)->token(id) == "</s>");
    }
    for (const auto& text : entry["texts"]) {
      const Ids ours = (*t)->encode(text.get<std::string>());
      const Ids theirs = (*back)->encode(text.get<std::string>());
      if ((*t)->gguf_notes().empty())
        QVERIFY2(ours == theirs, (name + ": " + text.dump()).c_str());
      if (ours == theirs && (*t)->kind() == "byte-bpe")
        QCOMPARE((*back)->decode(theirs, false), (*t)->decode(ours, false));
    }
    // Written again, it stays the same.
    const auto first = (*t)->to_gguf((*t)->vocab_size());
    const auto again = (*back)->to_gguf((*t)->vocab_size());
    QVERIFY(first.ok() && again.ok());
    QCOMPARE(again->size(), first->size());
  }
  QVERIFY2(written >= 4, "too few tokenizers could be written");
}

void TestTokenizer::gguf_fillers() {
  const auto t = Tokenizer::from_folder(test::demo_model());
  QVERIFY(t.ok());
  for (int pass = 0; pass < 2; ++pass) { // once from tokenizer.json, once from GGUF keys
    auto source = *t;
    if (pass == 1) {
      auto back = through_gguf(*source, 2048);
      QVERIFY(back.ok());
      source = *back;
    }
    const auto padded = through_gguf(*source, 2050);
    QVERIFY(padded.ok());
    QCOMPARE((*padded)->vocab_size(), std::int64_t(2050));
    QCOMPARE((*padded)->token(2049), std::string("[PAD2049]"));
    QVERIFY((*padded)->token_kind(2049) == TokenKind::unused);
    QVERIFY((*padded)->piece(2049).empty());
    QCOMPARE((*padded)->encode("a [PAD2049]"), (*t)->encode("a [PAD2049]"));
    const auto short_rows = source->to_gguf(2047);
    QVERIFY(!short_rows.ok());
    QCOMPARE(short_rows.error().code, std::string("mismatch"));
  }
}

void TestTokenizer::gguf_refuses() {
  auto json = small_file();
  json["normalizer"]["normalizers"].push_back({{"type", "Lowercase"}});
  auto t = from_json(json);
  QVERIFY(t.ok());
  QVERIFY(!(*t)->to_gguf(7).ok());
  QVERIFY((*t)->to_gguf(7).error().message.find("Lowercase") != std::string::npos);
  // A vocabulary without byte tokens is written, with the note that llama.cpp will fail on others.
  t = from_json(small_file());
  QVERIFY(t.ok() && (*t)->to_gguf(7).ok());
  QVERIFY(!(*t)->gguf_notes().empty());
}

void TestTokenizer::gguf_damaged_data() {
  QTest::addColumn<QString>("key");
  QTest::addColumn<int>("change");
  for (const char* key :
       {"tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.merges"}) {
    QTest::addRow("%s missing", key) << QString(key) << 0;
    QTest::addRow("%s a number", key) << QString(key) << 1;
  }
  QTest::newRow("unknown model") << "tokenizer.ggml.model" << 2;
  QTest::newRow("tokens twice") << "tokenizer.ggml.tokens" << 3;
  QTest::newRow("tokens empty") << "tokenizer.ggml.tokens" << 4;
  QTest::newRow("types short") << "tokenizer.ggml.token_type" << 4;
  QTest::newRow("merges without space") << "tokenizer.ggml.merges" << 5;
  QTest::newRow("flag a text") << "tokenizer.ggml.add_bos_token" << 2;
  QTest::newRow("bos a text") << "tokenizer.ggml.eos_token_id" << 2;
}

void TestTokenizer::gguf_damaged() {
  QFETCH(QString, key);
  QFETCH(int, change);
  const auto t = Tokenizer::from_folder(test::demo_model());
  QVERIFY(t.ok());
  auto metadata = (*t)->to_gguf(2048);
  QVERIFY(metadata.ok() && Tokenizer::from_gguf(*metadata, "x").ok());
  const auto it = std::find_if(metadata->begin(), metadata->end(),
                               [&](const auto& e) { return e.first == key.toStdString(); });
  QVERIFY(it != metadata->end());
  if (change == 0)
    metadata->erase(it);
  else if (change == 1)
    it->second = GgufValue::u32(7);
  else if (change == 2)
    it->second = GgufValue::string("nonsense");
  else if (change == 3)
    it->second = GgufValue::strings({"a", "b", "a"});
  else
    it->second = change == 4 ? GgufValue::strings({}) : GgufValue::strings({"ab"});
  const auto broken = Tokenizer::from_gguf(*metadata, "some.gguf");
  QVERIFY(!broken.ok());
  QCOMPARE(broken.error().where, std::string("some.gguf"));
}

void TestTokenizer::damaged_data() {
  QTest::addColumn<QByteArray>("patch"); // RFC 6902
  QTest::addColumn<QString>("message");  // a part of it
  const auto row = [](const char* name, const char* patch, const char* message) {
    QTest::newRow(name) << QByteArray(patch) << QString(message);
  };
  row("no model", R"([{"op":"remove","path":"/model"}])", "no \"model\"");
  row("model a list", R"([{"op":"replace","path":"/model","value":[]}])", "no \"model\"");
  row("no vocab", R"([{"op":"remove","path":"/model/vocab"}])", "vocab");
  row("vocab a list", R"([{"op":"replace","path":"/model/vocab","value":[["a",0.1]]}])", "vocab");
  row("vocab empty", R"([{"op":"replace","path":"/model/vocab","value":{}}])", "empty");
  row("id a text", R"([{"op":"replace","path":"/model/vocab/ab","value":"5"}])", "whole number");
  row("id a fraction", R"([{"op":"replace","path":"/model/vocab/ab","value":5.5}])",
      "whole number");
  row("id negative", R"([{"op":"replace","path":"/model/vocab/ab","value":-1}])", "out of range");
  row("id huge", R"([{"op":"replace","path":"/model/vocab/ab","value":4000000000}])",
      "out of range");
  row("id beyond 64 bits", R"([{"op":"replace","path":"/model/vocab/ab","value":1e30}])",
      "whole number");
  row("id used twice", R"([{"op":"replace","path":"/model/vocab/ab","value":3}])", "two tokens");
  row("no merges", R"([{"op":"remove","path":"/model/merges"}])", "merges");
  row("merges an object", R"([{"op":"replace","path":"/model/merges","value":{}}])", "merges");
  row("merge of one piece", R"([{"op":"replace","path":"/model/merges/0","value":"ab"}])",
      "Merge 0");
  row("merge of three pieces", R"([{"op":"replace","path":"/model/merges/0","value":"a b c"}])",
      "Merge 0");
  row("merge a number", R"([{"op":"replace","path":"/model/merges/1","value":3}])", "Merge 1");
  row("merge pair of three", R"([{"op":"replace","path":"/model/merges/1","value":["a","b","c"]}])",
      "Merge 1");
  row("merge of unknown parts", R"([{"op":"replace","path":"/model/merges/0","value":"a z"}])",
      "\"z\"");
  row("merge into nothing", R"([{"op":"replace","path":"/model/merges/0","value":"b a"}])",
      "\"ba\"");
  row("unknown unk_token", R"([{"op":"replace","path":"/model/unk_token","value":"<u>"}])",
      "unk_token");
  row("fuse_unk a text", R"([{"op":"replace","path":"/model/fuse_unk","value":"yes"}])",
      "fuse_unk");
  row("Unigram", R"([{"op":"replace","path":"/model/type","value":"Unigram"}])", "vocab");
  row("unknown model", R"([{"op":"replace","path":"/model/type","value":"Magic"}])", "Magic");
  row("unknown normalizer", R"([{"op":"replace","path":"/normalizer","value":{"type":"Magic"}}])",
      "Magic");
  row("normalizer a text", R"([{"op":"replace","path":"/normalizer","value":"NFC"}])",
      "normalizer");
  row("normalizer without type", R"([{"op":"replace","path":"/normalizer","value":{}}])", "type");
  row("unknown normalizer in a sequence",
      R"([{"op":"replace","path":"/normalizer/normalizers/0","value":{"type":"Magic"}}])", "Magic");
  row("sequence without list", R"([{"op":"remove","path":"/normalizer/normalizers"}])",
      "normalizers");
  row("damaged character map",
      R"([{"op":"replace","path":"/normalizer",
           "value":{"type":"Precompiled","precompiled_charsmap":"AAAAAAAAAAAA"}}])",
      "character map");
  row("no pattern", R"([{"op":"remove","path":"/normalizer/normalizers/1/pattern"}])", "pattern");
  row("unknown pre-tokenizer",
      R"([{"op":"replace","path":"/pre_tokenizer","value":{"type":"Magic"}}])", "Magic");
  row("bad expression",
      R"([{"op":"replace","path":"/pre_tokenizer",
           "value":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"}}])",
      "(a");
  row("expression with another meaning",
      R"([{"op":"replace","path":"/pre_tokenizer",
           "value":{"type":"Split","pattern":{"Regex":"(a)\\K"},"behavior":"Isolated"}}])",
      "\\K");
  row("unknown behaviour",
      R"([{"op":"replace","path":"/pre_tokenizer",
           "value":{"type":"Split","pattern":{"String":"a"},"behavior":"Sometimes"}}])",
      "Sometimes");
  row("unknown decoder", R"([{"op":"replace","path":"/decoder","value":{"type":"Magic"}}])",
      "Magic");
  row("unknown post-processor",
      R"([{"op":"replace","path":"/post_processor","value":{"type":"Magic"}}])", "Magic");
  row("template without ids",
      R"([{"op":"replace","path":"/post_processor","value":{"type":"TemplateProcessing",
           "single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{}}}])",
      "<s>");
  row("template with an id too large",
      R"([{"op":"replace","path":"/post_processor","value":{"type":"TemplateProcessing",
           "single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],
           "special_tokens":{"<s>":{"ids":[7]}}}}])",
      "7");
  row("template without text",
      R"([{"op":"replace","path":"/post_processor","value":{"type":"TemplateProcessing",
           "single":[],"special_tokens":{}}}])",
      "exactly once");
  row("added tokens an object", R"([{"op":"replace","path":"/added_tokens","value":{}}])",
      "added_tokens");
  row("added token a text", R"([{"op":"replace","path":"/added_tokens/0","value":"<s>"}])",
      "added token");
  row("added token without id", R"([{"op":"remove","path":"/added_tokens/0/id"}])", "id");
  row("added token with a huge id",
      R"([{"op":"add","path":"/added_tokens/-","value":{"id":2000000000,"content":"new"}}])",
      "out of range");
}

void TestTokenizer::damaged() {
  QFETCH(QByteArray, patch);
  QFETCH(QString, message);
  QVERIFY(from_json(small_file()).ok());
  const auto broken = from_json(small_file().patch(Json::parse(patch.toStdString())));
  QVERIFY(!broken.ok());
  QVERIFY2(QString::fromStdString(broken.error().message).contains(message),
           broken.error().text().c_str());
  QVERIFY(broken.error().where.find("tokenizer.json") != std::string::npos);
}

void TestTokenizer::truncated_anywhere() {
  const auto text = small_file().dump();
  for (std::size_t length = 0; length < text.size(); length += 7)
    QVERIFY(!from_text(text.substr(0, length)).ok());
  QVERIFY(!from_text(text + "x").ok());
  QVERIFY(!from_text("\xEF\xBB\xBF").ok());
  QVERIFY(!from_text("[]").ok());
  QVERIFY(!from_text(std::string(100000, '[')).ok());
  // One id for one token: JSON readers would silently keep one of these.
  auto twice = text;
  twice.replace(twice.find("\"vocab\":{"), 9, "\"vocab\":{\"a\":2,");
  QVERIFY(!from_text(twice).ok());
}

void TestTokenizer::missing() {
  QTemporaryDir dir;
  auto t = Tokenizer::from_folder(dir.path().toStdString());
  QVERIFY(!t.ok());
  QCOMPARE(t.error().code, std::string("not-found"));
  t = Tokenizer::from_folder("/nonexistent/folder");
  QVERIFY(!t.ok());
  std::ofstream((dir.path() + "/tokenizer.model").toStdString()) << "x";
  t = Tokenizer::from_folder(dir.path().toStdString());
  QVERIFY(!t.ok() && t.error().where.find("tokenizer.model") != std::string::npos);
  t = Tokenizer::from_gguf({}, "empty.gguf");
  QVERIFY(!t.ok());
  QCOMPARE(t.error().code, std::string("not-found"));
}

void TestTokenizer::llama_cpp_vectors_data() {
  QTest::addColumn<QString>("model");
  QTest::addColumn<QString>("vectors");
  for (const char* name : {"falcon", "gpt-2", "llama-spm", "phi-3"})
    QTest::newRow(name) << QString("ggml-vocab-%1.gguf").arg(name)
                        << QString("ggml-vocab-%1.gguf").arg(name);
  QTest::newRow("llama-bpe") << "rebuilt-vocab-llama3.gguf"
                             << "ggml-vocab-llama-bpe.gguf";
  QTest::newRow("qwen2") << "rebuilt-vocab-qwen2.gguf"
                         << "ggml-vocab-qwen2.gguf";
}

void TestTokenizer::llama_cpp_vectors() {
  QFETCH(QString, model);
  QFETCH(QString, vectors);
  const auto data = test::shared_data();
  if (!data)
    QSKIP("The shared reference data is not here");
  const auto folder = *data / "ggml-vocab";
  const auto file = read_gguf(folder / model.toStdString());
  QVERIFY2(file.ok(), file.ok() ? "" : file.error().text().c_str());
  const auto t = Tokenizer::from_gguf(file->metadata, model.toStdString());
  QVERIFY2(t.ok(), t.ok() ? "" : t.error().text().c_str());
  const auto inputs = file_text(folder / (vectors.toStdString() + ".inp"));
  std::istringstream outputs(file_text(folder / (vectors.toStdString() + ".out")));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int cases = 0;
  for (std::size_t begin = 0; begin < inputs.size(); ++cases) {
    auto end = inputs.find(separator, begin);
    const bool last = end == std::string::npos;
    end = last ? inputs.size() : end;
    const auto text = inputs.substr(begin, end - begin);
    begin = end + separator.size();
    std::string line;
    std::getline(outputs, line);
    std::istringstream numbers(line);
    Ids expected;
    for (std::int32_t id; numbers >> id;)
      expected.push_back(id);
    const Ids ids = (*t)->encode(text, {false, false});
    QVERIFY2(ids == expected, (text + "\n" + joined(ids).toStdString() + "\n" + line).c_str());
  }
  QVERIFY(cases >= 46);
}

void TestTokenizer::shared_models_agree_with_their_gguf() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("The shared reference data is not here");
  const std::pair<const char*, const char*> models[] = {
      {"demo-4m", "demo-4m.F16.gguf"},
      {"stories260k-hf", "stories260K.f32.gguf"},
      {"tinystories-656k", "tinystories-656k.f32.gguf"}};
  const auto text = file_text(*data / "text" / "tinystories_minigpt.656k-charset.txt");
  for (const auto& [folder, gguf] : models) {
    const auto ours = Tokenizer::from_folder(*data / "models" / folder);
    QVERIFY2(ours.ok(), ours.ok() ? "" : ours.error().text().c_str());
    const auto file = read_gguf(*data / "gguf" / gguf);
    QVERIFY(file.ok());
    const auto theirs = Tokenizer::from_gguf(file->metadata, gguf);
    QVERIFY2(theirs.ok(), theirs.ok() ? "" : theirs.error().text().c_str());
    const Ids ids = (*ours)->encode(text);
    QVERIFY2(ids == (*theirs)->encode(text), folder);
    const auto written = through_gguf(**ours, (*ours)->vocab_size());
    QVERIFY(written.ok());
    QVERIFY2(ids == (*written)->encode(text), folder);
    QCOMPARE((*ours)->decode(ids), text);
  }
}

void TestTokenizer::fast() {
  const auto entries = read_json_file(golden_file);
  QVERIFY(entries.ok());
  const auto demo = Tokenizer::from_folder(test::demo_model());
  const auto spm = from_json((*entries)[0]["tokenizer"]);
  const auto across = from_json((*entries)[1]["tokenizer"]);
  QVERIFY(demo.ok() && spm.ok() && across.ok());
  std::string text;
  while (text.size() < 1000000)
    text += file_text(test::demo_model() / "evaluation.txt");
  const std::string same(1000000, 'a'), spaces(1000000, ' ');
  for (const auto& t : {*demo, *spm, *across})
    for (const std::string* input : {&std::as_const(text), &same, &spaces}) {
      const auto begin = std::chrono::steady_clock::now();
      QVERIFY(!t->encode(*input).empty());
      const auto seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      // About 0.2 s per megabyte on one core; the bar is for loaded machines and sanitizers.
      QVERIFY2(seconds < 15, std::to_string(seconds).c_str());
    }
}

void TestTokenizer::threads() {
  const auto t = Tokenizer::from_folder(test::demo_model());
  QVERIFY(t.ok());
  const auto text = file_text(test::demo_model() / "prompts.jsonl");
  const Ids expected = (*t)->encode(text);
  std::vector<std::thread> workers;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; ++i)
    workers.emplace_back([&] {
      for (int k = 0; k < 20; ++k)
        wrong += (*t)->encode(text) != expected || (*t)->decode(expected) != text;
    });
  for (auto& worker : workers)
    worker.join();
  QCOMPARE(wrong.load(), 0);
}

QTEST_GUILESS_MAIN(TestTokenizer)
#include "tst_tokenizer.moc"
