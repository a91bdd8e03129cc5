// SPDX-License-Identifier: GPL-3.0-or-later
// Verification of exports that were damaged on purpose: what is broken is named, whether or not
// this program's reader opens them; and manifests, from which exports are made again.
#include "core/export/doctor.h"
#include "core/export/manifest.h"
#include "core/export/rules.h"
#include "core/job/quantize.h"
#include "core/model/content.h"
#include "tests/export_support.h"

#include <csignal>
#include <functional>
#include <sys/wait.h>
#include <unistd.h>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Json json_of(const fs::path& path) { return Json::parse(slurp(path)); }

/// Everything that verification says of a path, failures only.
std::string failures(const fs::path& path, const Checkpoint* against = nullptr) {
  static const auto compute = std::move(*make_cpu_compute());
  Feedback feedback;
  const auto report = verify_checkpoint(path, against, *compute, feedback);
  if (!report)
    return "error: " + report.error().text();
  std::string out;
  for (const auto& check : report->checks)
    if (!check.ok)
      out += check.name + ": " + check.detail + "\n";
  if (report->ok != out.empty())
    return "the report contradicts its checks";
  return out;
}

/// Rewrites a safetensors file with other tensors.
void rewrite(const fs::path& path, const std::function<void(std::vector<TensorToWrite>&)>& change) {
  std::vector<TensorToWrite> list;
  {
    const auto file = read_safetensors(path);
    QVERIFY(file.ok());
    for (const StoredTensor& tensor : file->tensors) {
      auto bytes = std::make_shared<std::vector<std::byte>>(tensor.data.begin(), tensor.data.end());
      list.push_back({tensor.name, tensor.dtype, tensor.shape, bytes->size(),
                      [bytes](OutputFile& out) { return out.write(*bytes); }});
    }
  }
  change(list);
  QVERIFY(write_safetensors(path, std::move(list), {{"format", "pt"}}).ok());
}

std::size_t index_of(const std::vector<TensorToWrite>& list, const std::string& name) {
  for (std::size_t i = 0; i < list.size(); ++i)
    if (list[i].name == name)
      return i;
  QTest::qFail(name.c_str(), __FILE__, __LINE__);
  return 0;
}

void edit_config(const fs::path& folder, const std::function<void(Json&)>& change) {
  Json config = json_of(folder / "config.json");
  change(config);
  put(folder / "config.json", config.dump(1));
}

const std::string q0 = "model.layers.0.self_attn.q_proj";

struct Damage {
  const char* name;
  const char* format;
  const char* named; ///< what the report must say
  std::function<void(const fs::path&)> make;
};

/// Of a folder, or of the .gguf in it.
std::vector<Damage> damages() {
  const auto weights = [](const fs::path& at) { return at / "model.safetensors"; };
  const auto edit = [weights](auto change) {
    return [=](const fs::path& at) { rewrite(weights(at), change); };
  };
  const auto patch = [](std::string from, std::string to) {
    return [=](const fs::path& at) {
      auto bytes = slurp(at);
      const auto place = bytes.find(from);
      QVERIFY(place != std::string::npos);
      bytes.replace(place, from.size(), to);
      put(at, bytes);
    };
  };
  using List = std::vector<TensorToWrite>;
  return {
      {"truncated", "compressed-tensors", "cut off",
       [=](const fs::path& at) { fs::resize_file(weights(at), fs::file_size(weights(at)) - 100); }},
      {"trailing", "compressed-tensors", "follow the last tensor",
       [=](const fs::path& at) { put(weights(at), slurp(weights(at)) + "more"); }},
      {"overlap", "compressed-tensors", "overlap",
       [=](const fs::path& at) {
         auto bytes = slurp(weights(at)); // two neighbours at the same place
         std::uint64_t length = 0;
         std::memcpy(&length, bytes.data(), 8);
         Json header = Json::parse(bytes.substr(8, length));
         auto& first = header["model.layers.0.mlp.gate_proj.weight_packed"];
         auto& second = header["model.layers.0.mlp.up_proj.weight_packed"];
         second["data_offsets"] = first["data_offsets"];
         auto text = header.dump();
         text.resize((text.size() + 7) / 8 * 8, ' ');
         const std::uint64_t now = text.size();
         put(weights(at),
             std::string(reinterpret_cast<const char*>(&now), 8) + text + bytes.substr(8 + length));
       }},
      {"NaN scale", "compressed-tensors", "no numbers", edit([](List& list) {
         auto& scale = list[index_of(list, q0 + ".weight_scale")];
         scale.write = [n = scale.bytes](OutputFile& out) {
           std::vector<std::byte> nan(n, std::byte(0x7e));
           return out.write(nan);
         };
       })},
      {"missing tensor", "compressed-tensors", "q_proj.weight_scale is missing",
       edit([](List& list) {
         list.erase(list.begin() + int(index_of(list, q0 + ".weight_scale")));
       })},
      {"missing module", "compressed-tensors", "model.layers.1.mlp.down_proj", edit([](List& list) {
         list.erase(std::remove_if(list.begin(), list.end(),
                                   [](const TensorToWrite& tensor) {
                                     return tensor.name.rfind("model.layers.1.mlp.down_proj", 0) ==
                                            0;
                                   }),
                    list.end());
       })},
      {"renamed tensor", "compressed-tensors", "q_proj", edit([](List& list) {
         list[index_of(list, q0 + ".weight_packed")].name = q0 + ".weight_packd";
       })},
      {"wrong shape", "compressed-tensors", "weight_scale is F16 [2, 64] instead of",
       edit([](List& list) {
         auto& scale = list[index_of(list, q0 + ".weight_scale")];
         std::swap(scale.shape[0], scale.shape[1]);
       })},
      {"wrong group size", "compressed-tensors", "it has 192 scales instead of 384",
       [](const fs::path& at) {
         edit_config(at, [](Json& config) {
           for (auto& group : config["quantization_config"]["config_groups"])
             group["weights"]["group_size"] = 16;
         });
       }},
      {"no quantization_config", "compressed-tensors", "no quantization_config",
       [](const fs::path& at) {
         edit_config(at, [](Json& config) { config.erase("quantization_config"); });
       }},
      {"not compressed", "compressed-tensors", "quantization_status",
       [](const fs::path& at) {
         edit_config(at, [](Json& config) {
           config["quantization_config"]["quantization_status"] = "frozen";
         });
       }},
      {"unknown key", "compressed-tensors", "unknown key \"colour\"",
       [](const fs::path& at) {
         edit_config(at, [](Json& config) {
           for (auto& group : config["quantization_config"]["config_groups"])
             group["weights"]["colour"] = "blue";
         });
       }},
      {"ignored", "compressed-tensors", "q_proj is ignored, but quantized",
       [](const fs::path& at) {
         edit_config(at,
                     [](Json& config) { config["quantization_config"]["ignore"].push_back(q0); });
       }},
      {"no group", "compressed-tensors", "is quantized, and no group covers it",
       [](const fs::path& at) {
         edit_config(at, [](Json& config) {
           for (auto& group : config["quantization_config"]["config_groups"])
             group["targets"] = {"re:.*k_proj$"};
         });
       }},
      {"tied head twice", "safetensors", "tied weights are stored once",
       [=](const fs::path& at) {
         edit_config(at, [](Json& config) { config["tie_word_embeddings"] = true; });
       }},
      {"no config", "safetensors", "no config.json",
       [](const fs::path& at) { fs::remove(at / "config.json"); }},
      {"stale shard", "sharded", "stale file",
       [=](const fs::path& at) {
         fs::copy_file(at / "model-00001-of-00003.safetensors",
                       at / "model-00009-of-00009.safetensors");
       }},
      {"missing shard", "sharded", "model-00002-of-00003.safetensors, which is not there",
       [](const fs::path& at) { fs::remove(at / "model-00002-of-00003.safetensors"); }},
      {"index of another model", "sharded", "is not in",
       [](const fs::path& at) {
         Json index = json_of(at / "model.safetensors.index.json");
         index["weight_map"]["model.layers.7.mlp.up_proj.weight"] =
             "model-00001-of-00003.safetensors";
         put(at / "model.safetensors.index.json", index.dump());
       }},
      {"gguf truncated", "gguf", "cut off",
       [](const fs::path& at) { fs::resize_file(at, fs::file_size(at) - 64); }},
      {"gguf in the header", "gguf", "ends inside",
       [](const fs::path& at) { fs::resize_file(at, 300); }},
      {"gguf key twice", "gguf", "the key llama.attention.head_count is there twice",
       patch("llama.rope.dimension_count", "llama.attention.head_count")},
      {"gguf renamed", "gguf", "blk.1.ffn_down.weight is missing",
       patch("blk.1.ffn_down.weight", "blk.1.ffn_dawn.weight")},
      {"gguf tensor twice", "gguf", "the tensor blk.0.ffn_gate.weight is there twice",
       patch("blk.1.ffn_gate.weight", "blk.0.ffn_gate.weight")},
  };
}

} // namespace

class TestVerify : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase();
  void sound();
  void damaged_data();
  void damaged();
  void gguf_in_parts();
  void logits_are_compared();
  void manifest_holds_everything();
  void made_again_data();
  void made_again();
  void killed();

 private:
  fs::path model() const { return path_of(dir_) / "model"; }
  QTemporaryDir dir_;
  std::map<std::string, fs::path> exports_;
};

void TestVerify::initTestCase() {
  make_small_model(model());
  const auto coded = quantized(model(), "int4-g32-asym");
  const auto add = [&](const std::string& name, const Checkpoint& from, const char* format,
                       std::uint64_t shard = 0) {
    Feedback feedback;
    const auto made = run_export(from, *find_exporter(format),
                                 {path_of(dir_) / name, "small", false, shard}, feedback);
    QVERIFY2(made.ok(), made.ok() ? "" : made.error().text().c_str());
    exports_[name] = made->path;
  };
  add("compressed-tensors", *coded, "compressed-tensors");
  add("safetensors", *opened(model()), "safetensors");
  add("sharded", *opened(model()), "safetensors", 50000);
  add("gguf", *quantized(model(), "q8_0"), "gguf");
}

void TestVerify::sound() {
  for (const auto& [name, path] : exports_)
    QCOMPARE(failures(path), std::string());
  QCOMPARE(failures(model()), std::string());
  QCOMPARE(failures(test::demo_model()), std::string());
}

void TestVerify::damaged_data() {
  QTest::addColumn<int>("index");
  int i = 0;
  for (const Damage& damage : damages())
    QTest::newRow(damage.name) << i++;
}

void TestVerify::damaged() {
  QFETCH(int, index);
  const Damage damage = damages()[std::size_t(index)];
  QTemporaryDir dir;
  const auto source = exports_.at(damage.format);
  const bool folder = fs::is_directory(source);
  const auto copy = path_of(dir) / source.filename();
  fs::copy(source, copy, fs::copy_options::recursive);
  // Without the manifest, as other people's files come.
  if (folder)
    fs::remove(copy / "bitlathe.json");
  QCOMPARE(failures(copy), std::string());
  damage.make(copy);
  const auto found = failures(copy);
  QVERIFY2(found.find(damage.named) != std::string::npos,
           ("not named: " + std::string(damage.named) + "\n" + found).c_str());
  // With it, the file is named in any case.
  if (folder) {
    fs::copy_file(source / "bitlathe.json", copy / "bitlathe.json");
    const auto again = failures(copy);
    QVERIFY2(again.find("manifest: ") != std::string::npos ||
                 std::string(damage.name) == "stale shard",
             again.c_str());
  }
}

void TestVerify::gguf_in_parts() {
  Feedback feedback;
  const auto from = quantized(model(), "q8_0");
  const auto out = path_of(dir_) / "parts";
  const auto made =
      run_export(*from, *find_exporter("gguf"), {out, "small", false, 20000}, feedback);
  QVERIFY2(made.ok(), made.ok() ? "" : made.error().text().c_str());
  const auto files = entries(out);
  QVERIFY(files.size() > 3);
  QVERIFY2(made->path.filename().string().find("-00001-of-") != std::string::npos,
           made->path.c_str());
  QCOMPARE(failures(made->path), std::string());
  QCOMPARE(failures(out), std::string());
  const auto back = opened(made->path);
  QCOMPARE(back->modules.size(), from->modules.size());
  QVERIFY(back->spec.has_value());
  const auto first = read_gguf(made->path);
  QVERIFY(first.ok());
  QCOMPARE(find(first->metadata, "split.count")->type, 2u);
  QVERIFY(find(first->metadata, "llama.context_length") != nullptr);
  // A part that is gone, and one of another model.
  const auto second = out / part_name(*split_name(made->path), 2, ".gguf");
  const auto bytes = slurp(second);
  fs::remove(second);
  auto found = failures(made->path);
  QVERIFY2(found.find(second.filename().string()) != std::string::npos, found.c_str());
  put(second, slurp(made->path));
  found = failures(made->path);
  QVERIFY2(found.find("says that it is part 1") != std::string::npos, found.c_str());
}

void TestVerify::logits_are_compared() {
  const auto coded = quantized(model(), "int4-g32-sym");
  for (const char* format : {"compressed-tensors", "gguf", "safetensors"}) {
    Feedback feedback;
    const auto made = run_export(*coded, *find_exporter(format),
                                 {path_of(dir_) / ("l-" + std::string(format)), "small"}, feedback);
    QVERIFY2(made.ok(), made.ok() ? "" : made.error().text().c_str());
    bool seen = false;
    for (const auto& check : made->checks)
      if (check.name == "logits") {
        seen = true;
        QVERIFY2(check.ok && check.detail.find("64 tokens") != std::string::npos,
                 check.detail.c_str());
      }
    QVERIFY(seen);
    QCOMPARE(failures(made->path, coded.get()), std::string());
  }
  // Other weights with the same structure: the distance is told, and is no failure.
  QCOMPARE(failures(exports_.at("compressed-tensors"), opened(model()).get()), std::string());
}

void TestVerify::manifest_holds_everything() {
  const auto manifest = json_of(exports_.at("sharded") / "bitlathe.json");
  QCOMPARE(manifest["format"].get<std::string>(), std::string("safetensors"));
  std::set<std::string> named;
  for (const Json& file : manifest["files"]) {
    named.insert(file["name"].get<std::string>());
    QCOMPARE(file["sha256"].get<std::string>().size(), std::size_t(64));
  }
  for (const auto& entry : entries(exports_.at("sharded")))
    QVERIFY2(entry == "bitlathe.json" || named.count(entry) == 1, entry.c_str());
  QVERIFY(!manifest["source"]["files"].empty());
  // Templates may be mended, weights not.
  QTemporaryDir dir;
  fs::copy(test::demo_model(), path_of(dir) / "demo");
  Feedback feedback;
  const auto out = path_of(dir) / "out";
  QVERIFY(run_export(*opened(path_of(dir) / "demo"), *find_exporter("safetensors"), {out, "demo"},
                     feedback)
              .ok());
  put(out / "tokenizer_config.json", slurp(out / "tokenizer_config.json") + "\n");
  QCOMPARE(failures(out), std::string());
  auto bytes = slurp(out / "model.safetensors");
  bytes[bytes.size() - 5] = char(bytes[bytes.size() - 5] ^ 1);
  put(out / "model.safetensors", bytes);
  QVERIFY(failures(out).find("model.safetensors is not as it was written") != std::string::npos);
}

void TestVerify::made_again_data() {
  QTest::addColumn<QString>("recipe");
  QTest::addColumn<QString>("format");
  QTest::newRow("rtn") << R"({"version":1,"default":{"scheme":"int4-g32-asym","method":"rtn"}})"
                       << "compressed-tensors";
  QTest::newRow("gptq") << R"({"version":1,"default":{"scheme":"int4-g32-sym","method":"gptq"}})"
                        << "gguf";
}

/// The manifest is a recipe: the same plan, the same bytes.
void TestVerify::made_again() {
  QFETCH(QString, recipe);
  QFETCH(QString, format);
  static const auto compute = std::move(*make_cpu_compute());
  const auto source = opened(model());
  const Exporter& exporter = *find_exporter(format.toStdString());
  std::vector<std::vector<std::int32_t>> text(3, std::vector<std::int32_t>(20));
  for (std::size_t i = 0; i < text.size(); ++i)
    for (std::size_t t = 0; t < 20; ++t)
      text[i][t] = std::int32_t((i * 13 + t * 7 + t * t) % 50);
  const auto make = [&](const Recipe& from, const fs::path& out) {
    auto plan = make_plan(*source, from);
    QVERIFY(plan.ok());
    fit_plan(*plan, *source, exporter);
    Feedback feedback;
    QuantizeOptions job;
    job.result_folder = out.string() + ".result";
    job.samples = &text;
    QVERIFY(run_quantize(*source, *plan, *compute, job, feedback).ok());
    const auto made = run_export(*opened(job.result_folder), exporter, {out, "again"}, feedback);
    QVERIFY2(made.ok(), made.ok() ? "" : made.error().text().c_str());
  };
  QTemporaryDir dir;
  const auto first = path_of(dir) / "first", second = path_of(dir) / "second";
  make(*recipe_from_json(Json::parse(recipe.toStdString()), "recipe"), first);
  fs::path manifest;
  for (const auto& name : entries(first))
    if (name == "bitlathe.json" || name.find(".manifest.json") != std::string::npos)
      manifest = first / name;
  const auto read = read_recipe(manifest);
  QVERIFY2(read.ok(), read.ok() ? "" : read.error().text().c_str());
  const auto settings = read_manifest_settings(manifest);
  QVERIFY(settings.ok() && settings->has_value());
  QCOMPARE((*settings)->format, format.toStdString());
  Feedback feedback;
  const auto differences = source_differences(**settings, *source, feedback);
  QVERIFY(differences.ok() && differences->empty());
  make(*read, second);
  QCOMPARE(entries(first), entries(second));
  for (const auto& name : entries(first))
    QVERIFY2(slurp(first / name) == slurp(second / name), name.c_str());
}

/// Whenever the writer dies, the target is absent or whole, and the next run cleans up.
void TestVerify::killed() {
  const auto parent = path_of(dir_) / "killed";
  fs::create_directory(parent);
  const auto coded = quantized(model(), "int4-g32-asym");
  const auto target = parent / "out";
  int interrupted = 0;
  for (int round = 0; round < 24; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      // A child of a process with threads: only what runs without them.
      const auto described =
          find_exporter("compressed-tensors")->files(export_input(*coded, {target, "small"}));
      if (!described)
        _exit(2);
      const auto folder = OutputFolder::create(target, true);
      if (!folder || !write_files((*folder)->staging(), described->files))
        _exit(3);
      _exit((*folder)->commit().ok() ? 0 : 4);
    }
    QVERIFY(child > 0);
    ::usleep(useconds_t(round * 700));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
      ++interrupted;
    else
      QCOMPARE(WEXITSTATUS(status), 0);
    if (fs::exists(target) && !fs::is_empty(target)) {
      QCOMPARE(failures(target), std::string());
      fs::remove_all(target);
    }
  }
  QVERIFY(interrupted > 0);
  const auto made = exported(*coded, "compressed-tensors", target);
  QVERIFY2(made.ok(), made.ok() ? "" : made.error().text().c_str());
  QCOMPARE(entries(parent), std::vector<std::string>{"out"});
}

QTEST_GUILESS_MAIN(TestVerify)
#include "tst_verify.moc"
