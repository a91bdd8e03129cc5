// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF: what is written is read back, broken files are refused with a reason, and llama.cpp's own
// files hold the same model as the Hugging Face folders they were made from.
#include "core/io/gguf.h"
#include "core/io/gguf_json.h"
#include "core/model/checkpoint.h"
#include "core/model/permute.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

#include <cstring>
#include <fstream>

using namespace bitlathe;

namespace {

fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// A GGUF byte by byte.
struct Raw {
  std::string bytes;
  template <class T> Raw& add(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Raw& text(const std::string& value) {
    add(std::uint64_t(value.size()));
    bytes += value;
    return *this;
  }
  Raw& header(std::int64_t tensors, std::int64_t keys, std::uint32_t version = 3) {
    bytes += "GGUF";
    return add(version).add(tensors).add(keys);
  }
  Raw& tensor(const std::string& name, std::vector<std::int64_t> shape, std::uint32_t type,
              std::uint64_t offset) {
    text(name).add(std::uint32_t(shape.size()));
    for (const auto n : shape)
      add(n);
    return add(type).add(offset);
  }
  Raw& align(std::size_t n) {
    bytes.resize((bytes.size() + n - 1) / n * n);
    return *this;
  }
  Raw& raw(std::size_t n) {
    bytes.append(n, 'x');
    return *this;
  }
  Raw& data(std::size_t n) { return align(32).raw(n); }
};

TensorToWrite tensor(const std::string& name, const std::string& type,
                     std::vector<std::int64_t> shape, const std::string& data) {
  return {name, type, std::move(shape), data.size(),
          [data](OutputFile& file) { return file.write(std::as_bytes(std::span(data))); }};
}

std::vector<float> decoded(const QTensor& weight) {
  std::vector<float> out(std::size_t(weight.rows * weight.cols));
  const auto view = weight.view();
  for (std::int64_t row = 0; row < weight.rows; ++row)
    view.layout->decode(view, row, 0, weight.cols, out.data() + row * weight.cols);
  return out;
}

std::shared_ptr<const Checkpoint> opened(const fs::path& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint) {
    QTest::qFail(checkpoint.error().text().c_str(), __FILE__, __LINE__);
    return std::make_shared<Checkpoint>();
  }
  return *checkpoint;
}

} // namespace

class TestGguf : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void writes_and_reads_back();
  void refuses_to_write();
  void broken_files_data();
  void broken_files();
  void cut_off_anywhere();
  void permutation();
  void same_as_hugging_face_data();
  void same_as_hugging_face();
  void every_reference_file_opens();
  void kinds_of_files();
  void version_2();
  void empty_tensors();
  void unknown_types();
  void rows_stay_in_the_file();
  void metadata_for_people();
  void split_files();
  void broken_splits();
};

void TestGguf::writes_and_reads_back() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.gguf";
  GgufMetadata metadata{{"general.architecture", GgufValue::string("none")},
                        {"u32", GgufValue::u32(4000000000u)},
                        {"f32", GgufValue::f32(1e-5f)},
                        {"flag", GgufValue::boolean(true)},
                        {"words", GgufValue::strings({"a", "", "\xff"})},
                        {"ints", GgufValue::i32s({-1, 2})},
                        {"floats", GgufValue::f32s({})},
                        {"u8", {0, 0, std::uint64_t(255)}},
                        {"i8", {1, 0, std::int64_t(-128)}},
                        {"u16", {2, 0, std::uint64_t(65535)}},
                        {"i16", {3, 0, std::int64_t(-2)}},
                        {"u64", {10, 0, ~std::uint64_t(0)}},
                        {"i64", {11, 0, INT64_MIN}},
                        {"f64", {12, 0, 0.1}}};
  QVERIFY(write_gguf(path, metadata,
                     {tensor("x", "f32", {3}, "abcdefghijkl"),
                      tensor("y.weight", "q8_0", {2, 32}, std::string(68, 'q')),
                      tensor("z", "f16", {1, 2, 3}, std::string(12, 'h'))})
              .ok());
  const auto file = read_gguf(path);
  QVERIFY2(file.ok(), file.ok() ? "" : file.error().text().c_str());
  QCOMPARE(file->metadata.size(), metadata.size());
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    QCOMPARE(file->metadata[i].first, metadata[i].first);
    QCOMPARE(file->metadata[i].second.type, metadata[i].second.type);
    if (metadata[i].second.type != 9)
      QVERIFY2(file->metadata[i].second.value == metadata[i].second.value,
               metadata[i].first.c_str());
  }
  QCOMPARE(*find(file->metadata, "i64")->as_int(), INT64_MIN);
  QVERIFY(!find(file->metadata, "u64")->as_int());
  const auto& words = *std::get<std::shared_ptr<GgufArray>>(find(file->metadata, "words")->value);
  QCOMPARE(*words[2].as_string(), std::string("\xff"));
  QCOMPARE(find(file->metadata, "floats")->element_type, std::uint32_t(6));
  QCOMPARE(file->tensors.size(), std::size_t(3));
  QCOMPARE(file->tensors[1].shape, (std::vector<std::int64_t>{2, 32}));
  QCOMPARE(file->tensors[1].dtype, std::string("q8_0"));
  QCOMPARE(file->tensors[1].data.size(), std::size_t(68));
  QCOMPARE(file->tensors[2].shape, (std::vector<std::int64_t>{1, 2, 3}));
  for (const auto& t : file->tensors)
    QCOMPARE(reinterpret_cast<std::uintptr_t>(t.data.data()) % 32, std::uintptr_t(0));

  // An alignment of one's own.
  metadata.emplace_back("general.alignment", GgufValue::u32(128));
  QVERIFY(
      write_gguf(path, metadata, {tensor("x", "f32", {1}, "abcd"), tensor("y", "f32", {1}, "efgh")})
          .ok());
  const auto wide = read_gguf(path);
  QVERIFY(wide.ok());
  QCOMPARE(reinterpret_cast<std::uintptr_t>(wide->tensors[1].data.data()) % 128, std::uintptr_t(0));
}

void TestGguf::refuses_to_write() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.gguf";
  QVERIFY(!write_gguf(path, {}, {tensor("x", "f32", {2}, "abcd")}).ok());
  QVERIFY(!write_gguf(path, {}, {tensor("x", "q8_0", {1, 16}, std::string(17, 'x'))}).ok());
  QVERIFY(!write_gguf(path, {}, {tensor("x", "f99", {1}, "abcd")}).ok());
  QVERIFY(!write_gguf(path, {}, {tensor(std::string(64, 'n'), "f32", {1}, "abcd")}).ok());
  QVERIFY(!write_gguf(path, {}, {tensor("x", "f32", {1}, "abcd"), tensor("x", "f32", {1}, "abcd")})
               .ok());
  QVERIFY(!write_gguf(path, {{"a", GgufValue::u32(1)}, {"a", GgufValue::u32(1)}}, {}).ok());
  QVERIFY(!write_gguf(path, {{"a", {4, 0, 1.5}}}, {}).ok());
  QVERIFY(fs::is_empty(path_of(dir)));
}

void TestGguf::broken_files_data() {
  QTest::addColumn<QByteArray>("content");
  QTest::addColumn<QString>("says");
  const auto row = [](const char* title, const Raw& raw, const char* says) {
    QTest::newRow(title) << QByteArray(raw.bytes.data(), qsizetype(raw.bytes.size()))
                         << QString::fromLatin1(says);
  };
  row("empty", Raw{}, "start with \"GGUF\"");
  row("magic only", Raw{"GGUF"}, "ends inside");
  row("version 1", Raw{}.header(0, 0, 1), "version 1");
  row("version 4", Raw{}.header(0, 0, 4), "version 4");
  row("big-endian", Raw{}.header(0, 0, 0x03000000), "big-endian");
  row("negative tensors", Raw{}.header(-1, 0), "claims -1 tensors");
  row("2^60 tensors", Raw{}.header(1ll << 60, 0), "tensors");
  row("100000 tensors", Raw{}.header(100000, 0).data(8 << 20), "claims 100000 tensors");
  row("100000 keys", Raw{}.header(0, 100000).data(8 << 20), "claims 100000 metadata");
  row("version 0", Raw{}.header(0, 0, 0), "version 0");
  row("big-endian version 2", Raw{}.header(0, 0, 0x02000000), "version 2");
  row("offset of 2^63", Raw{}.header(1, 0).tensor("a", {8}, 0, 1ull << 63).data(64),
      "instead of 0");
  row("huge tensor", Raw{}.header(1, 0).tensor("a", {1ll << 59}, 28, 0).data(64), "cut off");
  row("alignment of 2^31",
      Raw{}
          .header(1, 1)
          .text("general.alignment")
          .add(4u)
          .add(1u << 31)
          .tensor("a", {8}, 0, 0)
          .data(64),
      "before its tensor data");
  row("alignment of another type",
      Raw{}
          .header(1, 1)
          .text("general.alignment")
          .add(10u)
          .add(32ull)
          .tensor("a", {8}, 0, 0)
          .data(64),
      "power of two");
  row("array of 2^23 + 1",
      Raw{}.header(0, 1).text("a").add(9u).add(0u).add((1ull << 23) + 1).data(9 << 20),
      "8388608 elements");
  row("2^60 keys", Raw{}.header(0, 1ll << 60), "metadata keys");
  row("key beyond the file", Raw{}.header(0, 1).add(~0ull).data(64), "ends inside a metadata key");
  row("empty key", Raw{}.header(0, 1).text("").add(4u).add(1u).data(32), "empty");
  row("key not utf-8", Raw{}.header(0, 1).text("\xc0\x80").add(4u).add(1u).data(32), "UTF-8");
  row("key twice", Raw{}.header(0, 2).text("a").add(4u).add(1u).text("a").add(4u).add(1u).data(32),
      "twice");
  row("unknown value type", Raw{}.header(0, 1).text("a").add(13u).add(1u).data(32), "unknown");
  row("array of arrays", Raw{}.header(0, 1).text("a").add(9u).add(9u).add(1ull).data(32),
      "array of arrays");
  row("array of unknown", Raw{}.header(0, 1).text("a").add(9u).add(77u).add(1ull).data(32),
      "unknown type");
  row("array of 2^60", Raw{}.header(0, 1).text("a").add(9u).add(0u).add(1ull << 60).data(32),
      "more than the file holds");
  row("string of 2^63", Raw{}.header(0, 1).text("a").add(8u).add(1ull << 63).data(32), "claims");
  row("alignment 3", Raw{}.header(0, 1).text("general.alignment").add(4u).add(3u).data(32),
      "power of two");
  row("alignment 0", Raw{}.header(0, 1).text("general.alignment").add(4u).add(0u).data(32),
      "power of two");
  row("no name", Raw{}.header(1, 0).tensor("", {1}, 0, 0).data(64), "name");
  row("long name", Raw{}.header(1, 0).tensor(std::string(64, 'a'), {1}, 0, 0).data(64), "64 bytes");
  row("no dimensions", Raw{}.header(1, 0).tensor("a", {}, 0, 0).data(64), "0 dimensions");
  row("five dimensions", Raw{}.header(1, 0).tensor("a", {1, 1, 1, 1, 1}, 0, 0).data(64),
      "5 dimensions");
  row("negative dimension", Raw{}.header(1, 0).tensor("a", {-4}, 0, 0).data(64), "-4");
  row("overflow", Raw{}.header(1, 0).tensor("a", {1ll << 40, 1ll << 40}, 0, 0).data(64),
      "more elements");
  row("unknown type that runs past the next tensor",
      Raw{}.header(2, 0).tensor("a", {32}, 99, 0).tensor("b", {8}, 0, 1 << 20).data(64), "cut off");
  row("unknown type that ends nowhere",
      Raw{}.header(2, 0).tensor("a", {32}, 99, 0).tensor("b", {8}, 0, 40).data(96),
      "instead of 64");
  row("partial block", Raw{}.header(1, 0).tensor("a", {33}, 8, 0).data(64), "blocks of 32");
  row("wrong offset", Raw{}.header(1, 0).tensor("a", {8}, 0, 32).data(128), "instead of 0");
  row("overlap", Raw{}.header(2, 0).tensor("a", {16}, 0, 0).tensor("b", {16}, 0, 32).data(128),
      "instead of 64");
  row("name twice", Raw{}.header(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).data(64),
      "twice");
  row("cut off", Raw{}.header(1, 0).tensor("a", {64}, 0, 0).data(255), "cut off");
  row("no data", Raw{}.header(1, 0).tensor("a", {64}, 0, 0), "before its tensor data");
}

void TestGguf::broken_files() {
  QFETCH(QByteArray, content);
  QFETCH(QString, says);
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.gguf";
  put(path, content.toStdString());
  const auto file = read_gguf(path);
  QVERIFY(!file.ok());
  QVERIFY2(file.error().message.find(says.toStdString()) != std::string::npos,
           file.error().message.c_str());
  QVERIFY(!open_checkpoint(path).ok());
}

void TestGguf::cut_off_anywhere() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.gguf";
  QVERIFY(write_gguf(path,
                     {{"general.architecture", GgufValue::string("llama")},
                      {"words", GgufValue::strings({"ab", "c"})},
                      {"llama.block_count", GgufValue::u32(1)}},
                     {tensor("token_embd.weight", "f32", {3, 2}, std::string(24, 'w'))})
              .ok());
  const auto whole = read_file(path);
  QVERIFY(whole.ok());
  for (std::size_t size = 0; size + 8 < whole->size(); ++size) { // 8 bytes of padding at the end
    put(path, whole->substr(0, size));
    QVERIFY2(!read_gguf(path).ok(), std::to_string(size).c_str());
  }
}

void TestGguf::permutation() {
  for (const std::int64_t head_dim : {2, 8, 64})
    for (std::int64_t row = 0; row < 3 * head_dim; ++row) {
      QCOMPARE(gguf_row_of_hf(hf_row_of_gguf(row, head_dim), head_dim), row);
      QCOMPARE(hf_row_of_gguf(gguf_row_of_hf(row, head_dim), head_dim), row);
    }
  QCOMPARE(hf_row_of_gguf(8 + 3, 8), std::int64_t(8 + 5)); // h*hd + 2j+t with j=1, t=1
}

void TestGguf::same_as_hugging_face_data() {
  QTest::addColumn<QString>("gguf");
  QTest::addColumn<QString>("folder");
  QTest::addColumn<bool>("exact");
  QTest::newRow("demo f16") << "demo-4m.F16.gguf"
                            << "demo-4m" << false;
  QTest::newRow("stories f32") << "stories260K.f32.gguf"
                               << "stories260k-hf" << true;
  QTest::newRow("tinystories f32") << "tinystories-656k.f32.gguf"
                                   << "tinystories-656k" << true;
}

void TestGguf::same_as_hugging_face() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  QFETCH(QString, gguf);
  QFETCH(QString, folder);
  QFETCH(bool, exact);
  const auto a = opened(*data / "gguf" / gguf.toStdString());
  const auto b = opened(*data / "models" / folder.toStdString());
  QVERIFY2(a->spec.has_value(), a->why_not_runnable.c_str());
  QCOMPARE(a->format, std::string("gguf"));
  QCOMPARE(a->architecture, std::string("llama"));
  QCOMPARE(a->spec->heads, b->spec->heads);
  QCOMPARE(a->spec->kv_heads, b->spec->kv_heads);
  QCOMPARE(a->spec->head_dim, b->spec->head_dim);
  QCOMPARE(a->spec->ffn, b->spec->ffn);
  QCOMPARE(a->spec->vocab, b->spec->vocab);
  QCOMPARE(a->spec->norm_eps, b->spec->norm_eps);
  QCOMPARE(a->spec->rope.theta, b->spec->rope.theta);
  QCOMPARE(a->spec->eos, b->spec->eos);
  QCOMPARE(a->modules.size(), b->modules.size());
  for (std::size_t i = 0; i < a->modules.size(); ++i) {
    const auto &x = a->modules[i], &y = b->modules[i];
    QCOMPARE(x.name, y.name);
    QCOMPARE(x.role, y.role);
    QCOMPARE(x.shape, y.shape);
    const auto p = decoded(x.weight), q = decoded(y.weight);
    for (std::size_t k = 0; k < p.size(); ++k)
      if (exact ? p[k] != q[k] : std::fabs(p[k] - q[k]) > 1e-6f)
        QFAIL((x.name + " differs at " + std::to_string(k)).c_str());
  }
  QVERIFY2(a->tokenizer != nullptr, a->tokenizer_problem.c_str());
}

void TestGguf::every_reference_file_opens() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  int count = 0;
  for (const auto& entry : fs::directory_iterator(*data / "gguf")) {
    if (entry.path().extension() != ".gguf")
      continue;
    ++count;
    const auto model = opened(entry.path());
    const auto name = entry.path().filename().string();
    QVERIFY2(model->spec.has_value(), (name + ": " + model->why_not_runnable).c_str());
    QVERIFY(model->modules.size() >= 20);
    QVERIFY(model->find_module("model.layers.1.mlp.down_proj"));
    std::uint64_t sum = model->bytes();
    QVERIFY2(sum < fs::file_size(entry.path()), name.c_str());
  }
  QVERIFY(count > 20);
}

void TestGguf::kinds_of_files() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.gguf";
  QVERIFY(write_gguf(path, {{"general.type", GgufValue::string("imatrix")}}, {}).ok());
  const auto imatrix = open_checkpoint(path);
  QVERIFY(!imatrix.ok());
  QVERIFY(imatrix.error().message.find("imatrix") != std::string::npos);

  QVERIFY(write_gguf(path, {{"general.architecture", GgufValue::string("gptneox")}},
                     {tensor("token_embd.weight", "f16", {4, 2}, std::string(16, 'w')),
                      tensor("blk.0.attn_qkv.weight", "f16", {6, 2}, std::string(24, 'w')),
                      tensor("blk.0.attn_norm.weight", "f32", {2}, std::string(8, 'w')),
                      tensor("blk.0.ffn_up.weight", "q5_k", {1, 256}, std::string(176, 'w'))})
              .ok());
  const auto unknown = opened(path);
  QCOMPARE(unknown->architecture, std::string("gptneox"));
  QVERIFY(unknown->why_not_runnable.find("gptneox") != std::string::npos);
  QCOMPARE(unknown->modules.size(), std::size_t(4));
  QCOMPARE(unknown->find_module("blk.0.ffn_up")->dtype(), std::string("q5_k"));
  QCOMPARE(unknown->find_module("blk.0.ffn_up")->role, std::string("up_proj"));
  QVERIFY(unknown->quantized());
  QCOMPARE(unknown->modules.front().role, std::string("embedding"));
  // A folder that holds one GGUF is that GGUF.
  QCOMPARE(opened(path_of(dir))->architecture, std::string("gptneox"));
}

void TestGguf::split_files() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  const auto whole = read_gguf(*data / "gguf" / "tinystories-656k.f32.gguf");
  QVERIFY(whole.ok());
  QTemporaryDir dir;
  const auto copy = [](const StoredTensor& t) {
    return TensorToWrite{t.name, t.dtype, t.shape, t.data.size(),
                         [t](OutputFile& file) { return file.write(t.data); }};
  };
  for (int part = 0; part < 2; ++part) {
    auto metadata = part == 0 ? whole->metadata : GgufMetadata();
    metadata.emplace_back("split.no", GgufValue{2, 0, std::uint64_t(part)});
    metadata.emplace_back("split.count", GgufValue{2, 0, std::uint64_t(2)});
    std::vector<TensorToWrite> list;
    for (std::size_t i = 0; i < whole->tensors.size(); ++i)
      if (int(i % 2) == part)
        list.push_back(copy(whole->tensors[i]));
    const auto name = std::string("m-0000") + std::to_string(part + 1) + "-of-00002.gguf";
    QVERIFY(write_gguf(path_of(dir) / name, metadata, list).ok());
  }
  const auto model = opened(path_of(dir));
  QVERIFY2(model->spec.has_value(), model->why_not_runnable.c_str());
  for (const char* part : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) { // any part will do
    const auto from_part = opened(path_of(dir) / part);
    QVERIFY2(from_part->spec.has_value(), from_part->why_not_runnable.c_str());
    QCOMPARE(from_part->modules.size(), model->modules.size());
    QCOMPARE(from_part->name, std::string("m"));
    QCOMPARE(from_part->gguf.size(), model->gguf.size());
  }
  for (const char* part : {"m-00002-of-00002.gguf", "m-00001-of-00002.gguf"}) {
    const auto at = path_of(dir) / part;
    fs::rename(at, path_of(dir) / "aside");
    const auto missing = open_checkpoint(
        path_of(dir) / (part[6] == '2' ? "m-00001-of-00002.gguf" : "m-00002-of-00002.gguf"));
    QVERIFY(!missing.ok());
    QCOMPARE(missing.error().code, std::string("not-found"));
    QVERIFY2(missing.error().where.find(part) != std::string::npos, missing.error().text().c_str());
    QVERIFY(missing.error().message.find("missing") != std::string::npos);
    fs::rename(path_of(dir) / "aside", at);
  }
}

void TestGguf::broken_splits() {
  QTemporaryDir dir;
  const auto part = [&](const std::string& name, int no, int count, const std::string& holds,
                        std::optional<int> total = {}) {
    GgufMetadata metadata{{"general.architecture", GgufValue::string("none")},
                          {"split.no", GgufValue{2, 0, std::uint64_t(no)}},
                          {"split.count", GgufValue{2, 0, std::uint64_t(count)}}};
    if (total)
      metadata.emplace_back("split.tensors.count", GgufValue{5, 0, std::int64_t(*total)});
    return write_gguf(path_of(dir) / name, metadata, {tensor(holds, "f32", {1}, "abcd")}).ok();
  };
  const auto complaint = [&](const char* name) {
    const auto made = open_checkpoint(path_of(dir) / name);
    return made.ok() ? std::string() : made.error().message;
  };
  QVERIFY(part("a-00001-of-00002.gguf", 0, 2, "x", 2) && part("a-00002-of-00002.gguf", 1, 2, "y"));
  QCOMPARE(complaint("a-00002-of-00002.gguf"), std::string());
  QVERIFY(part("a-00001-of-00002.gguf", 0, 2, "x", 3));
  QVERIFY(complaint("a-00002-of-00002.gguf").find("2 tensors instead of 3") != std::string::npos);
  QVERIFY(part("a-00001-of-00002.gguf", 0, 2, "y"));
  QVERIFY(complaint("a-00001-of-00002.gguf").find("in two parts") != std::string::npos);
  QVERIFY(part("a-00002-of-00002.gguf", 0, 2, "z")); // the first one again
  QVERIFY(complaint("a-00001-of-00002.gguf").find("does not fit its name") != std::string::npos);
  QVERIFY(part("renamed.gguf", 1, 2, "x"));
  QVERIFY(complaint("renamed.gguf").find("one of 2 files") != std::string::npos);
  QVERIFY(part("b-00001-of-00003.gguf", 0, 2, "x"));
  QVERIFY(complaint("b-00001-of-00003.gguf").find("one of 2 files") != std::string::npos);
}

void TestGguf::version_2() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.gguf";
  put(path, Raw{}
                .header(2, 2, 2)
                .text("general.architecture")
                .add(8u)
                .text("none")
                .text("general.alignment")
                .add(4u)
                .add(64u)
                .tensor("a.weight", {2, 1, 3}, 0, 0)
                .tensor("b.weight", {4}, 1, 64)
                .align(64)
                .raw(72)
                .bytes);
  const auto file = read_gguf(path);
  QVERIFY2(file.ok(), file ? "" : file.error().text().c_str());
  QCOMPARE(file->tensors.size(), std::size_t(2));
  QCOMPARE(file->tensors[0].shape, (std::vector<std::int64_t>{3, 1, 2}));
  QCOMPARE(file->tensors[0].data.size(), std::size_t(24));
  QCOMPARE(file->tensors[1].data.data() - file->tensors[0].data.data(), std::ptrdiff_t(64));
  QVERIFY(open_checkpoint(path).ok());
}

/// Without elements, and with one dimension or four.
void TestGguf::empty_tensors() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.gguf";
  put(path, Raw{}
                .header(3, 0)
                .tensor("a.weight", {0, 5}, 0, 0)
                .tensor("b.weight", {4, 0, 7, 2}, 8, 0)
                .tensor("c.weight", {1, 1, 1, 1}, 0, 0)
                .data(4)
                .bytes);
  const auto wrong = open_checkpoint(path);
  QVERIFY(!wrong.ok()); // rows of four values in blocks of 32
  put(path, Raw{}
                .header(3, 0)
                .tensor("a.weight", {0, 5}, 0, 0)
                .tensor("b.weight", {32, 0, 7, 2}, 8, 0)
                .tensor("c.weight", {1, 1, 1, 1}, 0, 0)
                .data(4)
                .bytes);
  const auto model = opened(path);
  QCOMPARE(model->modules.size(), std::size_t(3));
  QCOMPARE(model->parameters(), std::int64_t(1));
  QVERIFY(!model->spec);
}

void TestGguf::unknown_types() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.gguf";
  for (const std::uint32_t id : {4u, 5u, 31u, 36u, 38u, 99u, 4000000000u}) {
    // In the middle its size is the distance to the next tensor, at the end what is left.
    put(path, Raw{}
                  .header(3, 0)
                  .tensor("a.weight", {64, 2}, id, 0)
                  .tensor("b.weight", {8}, 0, 96)
                  .tensor("c.weight", {7, 3}, id, 128)
                  .data(160)
                  .bytes);
    const auto file = read_gguf(path);
    QVERIFY2(file.ok(), file ? "" : file.error().text().c_str());
    QCOMPARE(file->tensors[0].dtype, "type " + std::to_string(id));
    QCOMPARE(file->tensors[0].data.size(), std::size_t(96));
    QCOMPARE(file->tensors[2].data.size(), std::size_t(32));
    const auto model = opened(path);
    QCOMPARE(model->modules.size(), std::size_t(3));
    const Module* a = model->find_module("a");
    QVERIFY(a && !a->weight.scheme.family);
    QCOMPARE(a->dtype(), "type " + std::to_string(id));
    QCOMPARE(a->weight.scheme.bits, 6.0);
    QCOMPARE(a->bytes(), std::uint64_t(96));
    QVERIFY(!model->spec);
  }
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  // A real model in which one weight becomes a type of the future: everything else stays readable.
  const auto whole = read_file(*data / "gguf" / "tinystories-656k.Q8_0.gguf");
  QVERIFY(whole.ok());
  std::string changed = *whole;
  const auto at = changed.find("blk.1.ffn_up.weight");
  QVERIFY(at != std::string::npos);
  changed[at + 19 + 4 + 16] = 99; // after the name: dimensions, two extents, type
  put(path, changed);
  const auto model = opened(path);
  QVERIFY(!model->spec);
  QVERIFY2(model->why_not_runnable.find("1 weights are stored as type 99") != std::string::npos,
           model->why_not_runnable.c_str());
  const Module* up = model->find_module("model.layers.1.mlp.up_proj");
  const Module* down = model->find_module("model.layers.1.mlp.down_proj");
  QVERIFY(up && down && !up->weight.scheme.family && down->weight.scheme.family);
  QCOMPARE(up->bytes(), down->bytes());
}

/// Query and key rows are seen in Hugging Face order without being copied.
void TestGguf::rows_stay_in_the_file() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference models are not beside this checkout");
  const auto model = opened(*data / "gguf" / "demo-4m.Q4_K_M.gguf");
  QVERIFY2(model->spec.has_value(), model->why_not_runnable.c_str());
  const auto raw = read_gguf(model->path);
  QVERIFY(raw.ok());
  const Module* q = model->find_module("model.layers.2.self_attn.q_proj");
  QVERIFY(q && q->weight.owned_codes.empty() && q->weight.row_order);
  const auto head_dim = model->spec->head_dim;
  for (const auto& stored : raw->tensors) {
    if (stored.name != "blk.2.attn_q.weight")
      continue;
    QCOMPARE(q->weight.bytes(), std::uint64_t(stored.data.size()));
    const auto bytes = stored.data.size() / std::size_t(q->weight.rows);
    const auto view = q->weight.view();
    for (std::int64_t row = 0; row < q->weight.rows; ++row)
      QCOMPARE(std::memcmp(view.row(row),
                           stored.data.data() + std::size_t(gguf_row_of_hf(row, head_dim)) * bytes,
                           bytes),
               0);
  }
  for (const auto& module : model->modules)
    QVERIFY2(module.weight.owned_codes.empty(), module.name.c_str());
}

void TestGguf::metadata_for_people() {
  std::vector<std::string> words(100, "w");
  const GgufMetadata metadata{{"text", GgufValue::string("a\"b")},
                              {"broken", GgufValue::string("x\xff\xc3\xa9\xe2\x82")},
                              {"eps", GgufValue::f32(1e-5f)},
                              {"inf", GgufValue::f32(INFINITY)},
                              {"f64", {12, 0, 0.1}},
                              {"flag", GgufValue::boolean(true)},
                              {"u64", {10, 0, ~std::uint64_t(0)}},
                              {"i8", {1, 0, std::int64_t(-3)}},
                              {"short", GgufValue::i32s({1, 2})},
                              {"long", GgufValue::strings(words)},
                              {"none", GgufValue::f32s({})}};
  const auto json = gguf_metadata_json(metadata);
  const std::string want =
      "{\"text\":\"a\\\"b\",\"broken\":\"x\\ufffd\\u00e9\\ufffd\\ufffd\",\"eps\":1e-05,"
      "\"inf\":\"inf\",\"f64\":0.1,\"flag\":true,\"u64\":18446744073709551615,\"i8\":-3,"
      "\"short\":[1,2],\"long\":{\"type\":\"string\",\"length\":100,"
      "\"first\":[\"w\",\"w\",\"w\",\"w\",\"w\",\"w\",\"w\",\"w\"]},\"none\":[]}";
  QCOMPARE(json.dump(-1, ' ', true), want);
  QCOMPARE(gguf_type_text(metadata[9].second), std::string("string[100]"));
  QCOMPARE(gguf_type_text(metadata[2].second), std::string("f32"));
}

QTEST_GUILESS_MAIN(TestGguf)
#include "tst_gguf.moc"
