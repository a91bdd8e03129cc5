// SPDX-License-Identifier: GPL-3.0-or-later
// The safetensors container: real files, every broken header the reference loader refuses, shards
// and their index, and writing that leaves everything or nothing.
#include "core/base/json.h"
#include "core/io/safetensors.h"
#include "tests/support.h"

#include <QTemporaryDir>
#include <QTest>

#include <csignal>
#include <cstring>
#include <fstream>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace bitlathe;

namespace {

fs::path path_of(const QTemporaryDir& dir) { return dir.path().toStdString(); }

void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string container(const std::string& header, const std::string& data,
                      std::optional<std::uint64_t> claim = {}) {
  const std::uint64_t length = claim.value_or(header.size());
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

std::string bytes_of(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

TensorToWrite tensor(const std::string& name, const std::string& dtype,
                     std::vector<std::int64_t> shape, const std::string& data) {
  return {name, dtype, std::move(shape), data.size(),
          [data](OutputFile& file) { return file.write(std::as_bytes(std::span(data))); }};
}

std::vector<std::string> entries(const fs::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder))
    out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

} // namespace

class TestSafetensors : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void reads_the_demo_model();
  void legal_oddities();
  void broken_files_data();
  void broken_files();
  void cut_off_anywhere_is_an_error();
  void writes_and_reads_back();
  void shards();
  void broken_index_data();
  void broken_index();
  void other_folders();
  void output_folder();
  void failed_writes_leave_nothing();
  void full_disk();
  void read_only_mount();
};

void TestSafetensors::reads_the_demo_model() {
  const auto file = read_safetensors_folder(test::demo_model());
  QVERIFY2(file.ok(), file.ok() ? "" : file.error().text().c_str());
  QCOMPARE(file->tensors.size(), std::size_t(39));
  std::uint64_t bytes = 0;
  for (const auto& t : file->tensors) {
    QCOMPARE(t.dtype, std::string("BF16"));
    bytes += t.data.size();
  }
  QVERIFY(bytes < fs::file_size(test::demo_model() / "model.safetensors"));
  QVERIFY(bytes + 8192 > fs::file_size(test::demo_model() / "model.safetensors"));
}

void TestSafetensors::legal_oddities() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "a.safetensors";
  put(path, container(R"({})", ""));
  QVERIFY(read_safetensors(path).ok());
  // Rank 0, an empty tensor that starts where the next one does, padding, metadata.
  put(path, container(R"({"__metadata__":{"format":"pt"},"one":{"dtype":"F32","shape":[],)"
                      R"("data_offsets":[0,4]},"none":{"dtype":"I8","shape":[0,7],)"
                      R"("data_offsets":[4,4]},"two":{"dtype":"U8","shape":[2,1],)"
                      R"("data_offsets":[4,6]}}    )",
                      "abcdef"));
  const auto file = read_safetensors(path);
  QVERIFY2(file.ok(), file.ok() ? "" : file.error().text().c_str());
  QCOMPARE(file->tensors.size(), std::size_t(3));
  QCOMPARE(file->metadata.at("format"), std::string("pt"));
  QCOMPARE(bytes_of(file->tensors[2].data), std::string("ef"));
}

void TestSafetensors::broken_files_data() {
  QTest::addColumn<QByteArray>("content");
  QTest::addColumn<QString>("says");
  const auto row = [](const char* title, const std::string& content, const char* says) {
    QTest::newRow(title) << QByteArray(content.data(), qsizetype(content.size()))
                         << QString::fromLatin1(says);
  };
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return R"("t":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}";
  };
  const auto one = [&](const std::string& dtype, const std::string& shape,
                       const std::string& offsets, const std::string& data) {
    return container("{" + entry(dtype, shape, offsets) + "}", data);
  };
  row("empty", "", "only 0 bytes");
  row("seven bytes", "1234567", "only 7 bytes");
  row("header of 2^60 bytes", container("{}", "", 1ull << 60), "claims 1152921504606846976 bytes");
  row("header of 2^64-1 bytes", container("{}", "", ~0ull), "claims 18446744073709551615 bytes");
  row("header longer than the file", container("{}", "", 4096), "cut off");
  row("not json", container("{]", ""), "not valid");
  row("not an object", container("[1]", ""), "start with '{'");
  row("leading space", container(" {}", ""), "start with '{'");
  row("invalid utf-8", container("{\"\xff\":1}", ""), "not valid");
  row("duplicate names",
      container("{" + entry("U8", "[1]", "[0,1]") + "," + entry("U8", "[1]", "[0,1]") + "}", "a"),
      "twice");
  row("metadata number", container(R"({"__metadata__":{"a":1}})", ""), "not a text");
  row("metadata list", container(R"({"__metadata__":[]})", ""), "not an object");
  row("entry list", container(R"({"t":[]})", ""), "not an object");
  row("no dtype", container(R"({"t":{"shape":[],"data_offsets":[0,4]}})", "abcd"), "dtype");
  row("no shape", container(R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", "abcd"), "shape");
  row("no offsets", container(R"({"t":{"dtype":"F32","shape":[]}})", "abcd"), "data_offsets");
  row("unknown dtype", one("F13", "[1]", "[0,4]", "abcd"), "unknown dtype");
  row("negative shape", one("F32", "[-1]", "[0,4]", "abcd"), "has -1");
  row("fractional shape", one("F32", "[1.5]", "[0,4]", "abcd"), "has 1.5");
  row("text shape", one("F32", "[\"1\"]", "[0,4]", "abcd"), "not a whole number");
  row("overflowing shape", one("F32", "[4294967296,4294967296]", "[0,4]", "abcd"), "more elements");
  row("overflowing bits", one("F64", "[1152921504606846976]", "[0,4]", "abcd"), "more elements");
  row("overflow hidden by a zero", one("F32", "[4294967296,4294967296,0]", "[0,0]", ""),
      "more elements");
  row("shape above 2^63", one("U8", "[9223372036854775808]", "[0,4]", "abcd"),
      "not a whole number");
  row("odd nibbles", one("F4", "[3]", "[0,2]", "ab"), "whole byte");
  row("backward offsets", one("U8", "[4]", "[4,0]", "abcd"), "not a range");
  row("negative offset", one("U8", "[4]", "[-4,0]", "abcd"), "not a range");
  row("three offsets", one("U8", "[4]", "[0,4,8]", "abcd"), "not a pair");
  row("size and shape disagree", one("F32", "[2]", "[0,4]", "abcd"), "need 8");
  row("hole at the start", one("U8", "[2]", "[2,4]", "abcd"), "gap");
  row("gap",
      container(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                "abc"),
      "gap");
  row("overlap",
      container(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                "abc"),
      "inside the tensor before it");
  row("data cut off", one("U8", "[4]", "[0,4]", "abc"), "cut off");
  row("trailing bytes", one("U8", "[4]", "[0,4]", "abcde"), "after its last tensor");
  row("deep nesting",
      container("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", ""),
      "not valid");
}

void TestSafetensors::broken_files() {
  QFETCH(QByteArray, content);
  QFETCH(QString, says);
  QTemporaryDir dir;
  const auto path = path_of(dir) / "model.safetensors";
  put(path, content.toStdString());
  const auto file = read_safetensors(path);
  QVERIFY(!file.ok());
  QCOMPARE(file.error().code, std::string("bad-file"));
  QVERIFY2(file.error().message.find(says.toStdString()) != std::string::npos,
           file.error().message.c_str());
  QVERIFY(file.error().where.find("model.safetensors") != std::string::npos);
}

void TestSafetensors::cut_off_anywhere_is_an_error() {
  const auto whole = read_file(test::demo_model() / "model.safetensors");
  QVERIFY(whole.ok());
  QTemporaryDir dir;
  const auto path = path_of(dir) / "model.safetensors";
  for (const std::size_t size : {std::size_t(0), std::size_t(8), std::size_t(9), std::size_t(4000),
                                 whole->size() / 2, whole->size() - 1}) {
    put(path, whole->substr(0, size));
    QVERIFY(!read_safetensors(path).ok());
  }
  const auto missing = read_safetensors(path_of(dir) / "nothing.safetensors");
  QVERIFY(!missing.ok());
  QCOMPARE(missing.error().code, std::string("not-found"));
  QVERIFY(!read_safetensors(path_of(dir)).ok()); // a folder
  QCOMPARE(::mkfifo((path_of(dir) / "pipe").c_str(), 0600), 0);
  QVERIFY(!read_safetensors(path_of(dir) / "pipe").ok()); // must not wait for a writer
}

void TestSafetensors::writes_and_reads_back() {
  QTemporaryDir dir;
  const auto path = path_of(dir) / "w.safetensors";
  QVERIFY(write_safetensors(path,
                            {tensor("b", "U8", {3}, "xyz"), tensor("z", "F32", {1, 2}, "abcdefgh"),
                             tensor("a", "I64", {1}, "12345678"), tensor("q", "F16", {0, 4}, "")},
                            {{"format", "pt"}})
              .ok());
  const auto file = read_safetensors(path);
  QVERIFY2(file.ok(), file.ok() ? "" : file.error().text().c_str());
  // 64-bit first, bytes last, so that everything is aligned.
  QCOMPARE(file->tensors[0].name, std::string("a"));
  QCOMPARE(file->tensors[1].name, std::string("z"));
  QCOMPARE(file->tensors[3].name, std::string("b"));
  QCOMPARE(bytes_of(file->tensors[1].data), std::string("abcdefgh"));
  for (const auto& t : file->tensors)
    QCOMPARE(reinterpret_cast<std::uintptr_t>(t.data.data()) % 8, std::uintptr_t(0));
  QCOMPARE(entries(path_of(dir)), std::vector<std::string>{"w.safetensors"});
}

void TestSafetensors::shards() {
  QTemporaryDir dir;
  const auto folder = path_of(dir);
  std::vector<TensorToWrite> list;
  for (int i = 0; i < 5; ++i) {
    const auto module = "layer." + std::to_string(i);
    list.push_back(tensor(module + ".weight", "U8", {60}, std::string(60, char('a' + i))));
    list.push_back(tensor(module + ".bias", "U8", {10}, std::string(10, char('A' + i))));
  }
  QVERIFY(write_safetensors_folder(folder, list, 150).ok());
  QCOMPARE(entries(folder), (std::vector<std::string>{"model-00001-of-00003.safetensors",
                                                      "model-00002-of-00003.safetensors",
                                                      "model-00003-of-00003.safetensors",
                                                      "model.safetensors.index.json"}));
  const auto index = read_json_file(folder / "model.safetensors.index.json");
  QCOMPARE((*index)["metadata"]["total_size"].get<int>(), 350);
  for (int i = 0; i < 5; ++i) // a module's tensors share a shard
    QVERIFY((*index)["weight_map"]["layer." + std::to_string(i) + ".weight"] ==
            (*index)["weight_map"]["layer." + std::to_string(i) + ".bias"]);
  const auto all = read_safetensors_folder(folder);
  QVERIFY2(all.ok(), all.ok() ? "" : all.error().text().c_str());
  QCOMPARE(all->tensors.size(), std::size_t(10));

  fs::remove(folder / "model-00002-of-00003.safetensors");
  const auto missing = read_safetensors_folder(folder);
  QVERIFY(!missing.ok());
  QCOMPARE(missing.error().code, std::string("not-found"));
  QVERIFY(missing.error().message.find("model-00002-of-00003") != std::string::npos);
}

void TestSafetensors::broken_index_data() {
  QTest::addColumn<QString>("index");
  QTest::addColumn<QString>("says");
  QTest::newRow("outside") << R"({"weight_map":{"t":"../secret.safetensors"}})"
                           << "outside";
  QTest::newRow("absolute") << R"({"weight_map":{"t":"/etc/passwd"}})"
                            << "outside";
  QTest::newRow("subfolder") << R"({"weight_map":{"t":"sub/a.safetensors"}})"
                             << "outside";
  QTest::newRow("parent itself") << R"({"weight_map":{"t":".."}})"
                                 << "outside";
  QTest::newRow("nul") << R"({"weight_map":{"t":"a\u0000b"}})"
                       << "outside";
  QTest::newRow("no map") << R"({"metadata":{}})"
                          << "weight_map";
  QTest::newRow("list") << R"([])"
                        << "weight_map";
  QTest::newRow("number") << R"({"weight_map":{"t":3}})"
                          << "not a text";
  QTest::newRow("not json") << R"({"weight_map":)"
                            << "JSON";
  QTest::newRow("missing shard") << R"({"weight_map":{"t":"c.safetensors"}})"
                                 << "missing";
  QTest::newRow("name not in shard")
      << R"({"weight_map":{"t":"a.safetensors","x":"a.safetensors"}})"
      << "does not hold it";
  QTest::newRow("name not in index")
      << R"({"weight_map":{"t":"a.safetensors","v":"b.safetensors"}})"
      << "does not list it";
  QTest::newRow("in another file")
      << R"({"weight_map":{"t":"b.safetensors","u":"b.safetensors","v":"a.safetensors"}})"
      << "another file";
}

void TestSafetensors::broken_index() {
  QFETCH(QString, index);
  QFETCH(QString, says);
  QTemporaryDir dir;
  const auto folder = path_of(dir);
  QVERIFY(write_safetensors(folder / "a.safetensors", {tensor("t", "U8", {1}, "a")}, {}).ok());
  QVERIFY(write_safetensors(folder / "b.safetensors",
                            {tensor("u", "U8", {1}, "b"), tensor("v", "U8", {1}, "c")}, {})
              .ok());
  put(folder / "model.safetensors.index.json", index.toStdString());
  const auto all = read_safetensors_folder(folder);
  QVERIFY(!all.ok());
  QVERIFY2(all.error().message.find(says.toStdString()) != std::string::npos,
           all.error().message.c_str());
}

void TestSafetensors::other_folders() {
  QTemporaryDir dir;
  const auto folder = path_of(dir);
  QCOMPARE(read_safetensors_folder(folder).error().code, std::string("not-found"));
  QVERIFY(!read_safetensors_folder(folder / "no").ok());
  QVERIFY(write_safetensors(folder / "x.safetensors", {tensor("t", "U8", {1}, "a")}, {}).ok());
  QVERIFY(read_safetensors_folder(folder).ok()); // the only one
  QVERIFY(write_safetensors(folder / "y.safetensors", {tensor("u", "U8", {1}, "a")}, {}).ok());
  QVERIFY(!read_safetensors_folder(folder).ok()); // which of the two?
}

void TestSafetensors::output_folder() {
  QTemporaryDir dir;
  const auto base = path_of(dir);
  { // given up: nothing remains, parents included
    auto folder = OutputFolder::create(base / "a" / "b" / "out", false);
    QVERIFY(folder.ok());
    QVERIFY(write_file((*folder)->staging() / "x", "1").ok());
    QVERIFY(!fs::exists(base / "a" / "b" / "out"));
  }
  QVERIFY(!fs::exists(base / "a"));
  { // done
    auto folder = OutputFolder::create(base / "out/", false);
    QVERIFY(folder.ok());
    QVERIFY(write_file((*folder)->staging() / "model.safetensors", "1").ok());
    QVERIFY(write_file((*folder)->staging() / "config.json", "{}").ok());
    QVERIFY((*folder)->commit().ok());
  }
  QCOMPARE(entries(base), std::vector<std::string>{"out"});
  QCOMPARE(entries(base / "out"), (std::vector<std::string>{"config.json", "model.safetensors"}));
  const auto refused = OutputFolder::create(base / "out", false);
  QVERIFY(!refused.ok());
  QCOMPARE(refused.error().code, std::string("bad-argument"));
  const auto file = OutputFolder::create(base / "out" / "config.json", true);
  QVERIFY(!file.ok());

  put(base / "out" / "notes.txt", "mine");
  put(base / "out" / "model-00001-of-00002.safetensors", "old");
  put(base / "out" / "model.safetensors.index.json", "old");
  { // replacing: other files stay, weights of the old checkpoint go
    auto folder = OutputFolder::create(base / "out", true);
    QVERIFY(folder.ok());
    QVERIFY(write_file((*folder)->staging() / "model.safetensors", "2").ok());
    QVERIFY((*folder)->commit().ok());
  }
  QCOMPARE(entries(base / "out"),
           (std::vector<std::string>{"config.json", "model.safetensors", "notes.txt"}));
  QCOMPARE(*read_file(base / "out" / "model.safetensors"), std::string("2"));
  QCOMPARE(entries(base), std::vector<std::string>{"out"});

  fs::create_directory(base / "empty"); // an existing empty folder is fine
  auto empty = OutputFolder::create(base / "empty", false);
  QVERIFY(empty.ok());
  QVERIFY(write_file((*empty)->staging() / "x", "1").ok());
  QVERIFY((*empty)->commit().ok());
  QCOMPARE(entries(base / "empty"), std::vector<std::string>{"x"});

  // What a killed run left behind goes; what a running one is writing stays.
  fs::create_directory(base / ".next.partial-99999-0");
  put(base / ".next.partial-99999-0" / "model.safetensors", "half");
  auto running = OutputFolder::create(base / "next", false);
  QVERIFY(running.ok());
  QVERIFY(!fs::exists(base / ".next.partial-99999-0"));
  auto second = OutputFolder::create(base / "next", false);
  QVERIFY(second.ok());
  QVERIFY(fs::exists((*running)->staging()));
}

void TestSafetensors::failed_writes_leave_nothing() {
  QTemporaryDir dir;
  const auto folder = path_of(dir);
  auto broken = tensor("b", "U8", {4}, "abcd");
  broken.write = [](OutputFile&) -> Result<void> { return Error{"io", "no", {}}; };
  QVERIFY(!write_safetensors(folder / "x.safetensors", {tensor("a", "U8", {4}, "abcd"), broken}, {})
               .ok());
  Feedback stopped;
  stopped.stop = true;
  const auto cancelled =
      write_safetensors(folder / "x.safetensors", {tensor("a", "U8", {4}, "abcd")}, {}, &stopped);
  QVERIFY(!cancelled.ok());
  QVERIFY(cancelled.error().cancelled());
  QCOMPARE(entries(folder), std::vector<std::string>{});

  // An old file of the same name survives a failure.
  QVERIFY(write_file(folder / "keep", "old").ok());
  {
    auto file = OutputFile::create(folder / "keep");
    QVERIFY(file.ok());
    QVERIFY((*file)->write(std::as_bytes(std::span("new", 3))).ok());
  }
  QCOMPARE(*read_file(folder / "keep"), std::string("old"));

  // A limit on file sizes acts like a full disk.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1 << 20;
  setrlimit(RLIMIT_FSIZE, &small);
  const auto full =
      write_safetensors(folder / "big.safetensors",
                        {tensor("a", "U8", {3 << 20}, std::string(std::size_t(3) << 20, 'x'))}, {});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  QVERIFY(!full.ok());
  QCOMPARE(full.error().code, std::string("no-space"));
  QCOMPARE(entries(folder), std::vector<std::string>{"keep"});
}

void TestSafetensors::full_disk() {
  QTemporaryDir dir;
  const auto folder = path_of(dir) / "disk";
  fs::create_directory(folder);
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=256k") != 0)
    QSKIP("mounting a small file system needs root");
  const auto result =
      write_safetensors(folder / "big.safetensors",
                        {tensor("a", "U8", {3 << 20}, std::string(std::size_t(3) << 20, 'x'))}, {});
  const auto left = entries(folder);
  // A mount point as target: staged inside it, then moved up.
  std::vector<std::string> after;
  bool committed = false;
  if (auto out = OutputFolder::create(folder, false); out.ok())
    committed = write_file((*out)->staging() / "x", "1").ok() && (*out)->commit().ok();
  after = entries(folder);
  ::umount(folder.c_str());
  QVERIFY(!result.ok());
  QCOMPARE(result.error().code, std::string("no-space"));
  QVERIFY(result.error().message.find("full") != std::string::npos);
  QCOMPARE(left, std::vector<std::string>{});
  QVERIFY(committed);
  QCOMPARE(after, std::vector<std::string>{"x"});
}

void TestSafetensors::read_only_mount() {
  QTemporaryDir dir;
  const auto folder = path_of(dir) / "disk";
  fs::create_directory(folder);
  if (::mount("tmpfs", folder.c_str(), "tmpfs", MS_RDONLY, "size=256k") != 0)
    QSKIP("mounting a file system needs root");
  const auto inside = OutputFolder::create(folder / "out", false);
  const auto itself = OutputFolder::create(folder, false);
  const auto file = write_file(folder / "x", "1");
  ::umount(folder.c_str());
  for (const auto* error :
       {inside.ok() ? nullptr : &inside.error(), itself.ok() ? nullptr : &itself.error(),
        file.ok() ? nullptr : &file.error()}) {
    QVERIFY(error);
    QCOMPARE(error->code, std::string("io"));
    QVERIFY2(error->message.find("read-only") != std::string::npos, error->message.c_str());
  }
}

QTEST_GUILESS_MAIN(TestSafetensors)
#include "tst_safetensors.moc"
