// SPDX-License-Identifier: Apache-2.0
#include "core/export/awq_rules.h"

#include "core/export/packed_rules.h"

#include <algorithm>
#include <set>

namespace bitlathe {

namespace {

class Checker {
 public:
  explicit Checker(const PackedFolder& folder) : folder_(folder) {
    packed_ = folder.packed_names();
    plain_ = folder.plain_names();
  }

  std::vector<VerifyCheck> run() {
    check_settings();
    for (const auto& name : packed_)
      check_module(name, folder_.modules.at(name));
    check_lists();
    remark_loaders();
    return {settings_.check(), names_.check(), shapes_.check(),
            scales_.check(),   lists_.check(), loaders_.remark()};
  }

 private:
  const OrderedJson& value(const char* key, const char* old = "") const {
    static const OrderedJson none;
    const OrderedJson& from = folder_.settings.is_null() ? folder_.beside : folder_.settings;
    for (const char* name : {key, old})
      if (from.is_object())
        if (const auto it = from.find(name); it != from.end())
          return *it;
    return none;
  }

  void check_settings() {
    if (folder_.settings.is_null())
      settings_.broken("config.json has no quantization_config, so transformers and vLLM look for "
                       "plain weights");
    else if (value("quant_method") != "awq")
      settings_.broken("quant_method is " + value("quant_method").dump() + " instead of \"awq\"");
    if (value("bits", "w_bit") != 4)
      settings_.broken("\"bits\" is " + value("bits", "w_bit").dump() + " instead of 4");
    const auto& group = value("group_size", "q_group_size");
    if (group.is_number_integer() && (group == -1 || (group > 0 && group < (1 << 24))))
      group_ = group.get<std::int64_t>();
    else
      settings_.broken("\"group_size\" is " + group.dump() +
                       " instead of -1 or a number of columns");
    if (value("zero_point") != true)
      settings_.broken("\"zero_point\" is " + value("zero_point").dump() +
                       ", but only files with zero points are run");
    const auto& version = value("version", "format");
    std::string layout = version.is_string() ? version.get<std::string>() : version.dump();
    std::transform(layout.begin(), layout.end(), layout.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    if (!version.is_null() && layout != "gemm")
      settings_.broken("the version is " + layout + "; most loaders know gemm only");
  }

  void check_module(const std::string& name, const PackedParts& parts) {
    if (parts.count("weight"))
      names_.broken(name + " is stored both packed and plain");
    for (const char* key : {"qweight", "qzeros", "scales"})
      if (!parts.count(key))
        names_.broken(name + "." + key + " is missing");
    const auto it = parts.find("qweight");
    if (it == parts.end())
      return;
    const StoredTensor& codes = *it->second;
    if (codes.dtype != "I32" || codes.shape.size() != 2 || codes.data.empty()) {
      shapes_.broken(name + ".qweight is no matrix of I32");
      return;
    }
    const auto cols = codes.shape[0], rows = codes.shape[1] * 8;
    const auto group = group_ > 0 ? group_ : cols;
    if (cols % group != 0)
      shapes_.broken(name + " has " + std::to_string(cols) + " columns, which do not divide by " +
                     std::to_string(group));
    if (const auto zeros = parts.find("qzeros"); zeros != parts.end())
      expect_packed(shapes_, name + ".qzeros", *zeros->second, {cols / group, rows / 8}, "I32");
    if (const auto bias = parts.find("bias"); bias != parts.end())
      expect_packed(shapes_, name + ".bias", *bias->second, {rows}, "F16|BF16|F32");
    if (const auto scales = parts.find("scales"); scales != parts.end()) {
      const StoredTensor& tensor = *scales->second;
      expect_packed(shapes_, name + ".scales", tensor, {cols / group, rows}, "F16|BF16|F32");
      if (tensor.dtype == "F16" || tensor.dtype == "BF16" || tensor.dtype == "F32")
        check_packed_scales(scales_, name, tensor);
    }
  }

  void check_lists() {
    if (packed_.empty())
      names_.broken("no module is packed");
    std::vector<std::string> listed;
    const auto& list = value("modules_to_not_convert");
    if (list.is_array())
      for (const auto& item : list)
        if (item.is_string())
          listed.push_back(item.get<std::string>());
    const auto skipping = [&](const std::string& module) {
      return std::find_if(listed.begin(), listed.end(), [&](const std::string& item) {
        return module.find(item) != std::string::npos;
      });
    };
    std::set<std::string> in_blocks;
    for (const auto& name : packed_) {
      in_blocks.insert(name_in_block(name));
      if (const auto item = skipping(name); item != listed.end())
        lists_.broken(name + " is packed, but left out by \"" + *item +
                      "\" of modules_to_not_convert");
    }
    for (const auto& name : plain_) {
      const auto tail = name_in_block(name);
      if (tail.empty() || in_blocks.count(tail) == 0 || skipping(name) != listed.end())
        continue;
      // With an empty list, vLLM goes by what is stored.
      (listed.empty() ? loaders_ : lists_)
          .broken(name + " is plain, others of its kind are packed, and modules_to_not_convert "
                         "does not name it");
    }
    const bool says_head = value("lm_head") == true;
    const auto head = std::find_if(packed_.begin(), packed_.end(), [](const std::string& name) {
      return name_in_block(name).empty();
    });
    if (says_head && head == packed_.end())
      lists_.broken("\"lm_head\" is true, but no head is packed");
    if (!says_head && head != packed_.end())
      lists_.broken(*head + " is packed, but \"lm_head\" is not true");

    std::map<std::string, std::set<bool>> kinds;
    for (const auto* names : {&packed_, &plain_})
      for (const auto& [whole, parts] : joined_layers(*names))
        kinds[whole].insert(names == &packed_);
    for (const auto& [whole, both] : kinds)
      if (both.size() > 1)
        loaders_.broken("vLLM joins " + whole + ", of which only a part is packed");
  }

  void remark_loaders() {
    if (group_ != -1 && group_ != 32 && group_ != 64 && group_ != 128)
      loaders_.broken("vLLM's kernels do not know groups of " + std::to_string(group_));
    for (const auto& [name, parts] : folder_.modules)
      if (parts.size() == 1 && parts.count("scales")) {
        loaders_.broken(name + ".scales divides activations, which AutoAWQ alone does");
        break;
      }
  }

  const PackedFolder& folder_;
  std::vector<std::string> packed_, plain_;
  std::int64_t group_ = -1;
  PackedRule settings_{"awq settings", "every key that the loaders need, with values they know"};
  PackedRule names_{"awq names",
                    "every packed module has all of its tensors, none is stored twice"};
  PackedRule shapes_{"awq shapes", "shapes and types follow from the settings"};
  PackedRule scales_{"awq scales", "all finite"};
  PackedRule lists_{"awq lists", "what modules_to_not_convert names is plain, the rest is packed"};
  PackedRule loaders_{"awq loaders",
                      "within what vLLM and transformers take; llama.cpp's converter reads "
                      "no AWQ"};
};

} // namespace

std::vector<VerifyCheck> awq_rules(const fs::path& path) {
  const auto folder = read_packed_folder(path);
  if (!folder)
    return {{"awq files", false, folder.error().text()}};
  return Checker(**folder).run();
}

} // namespace bitlathe
