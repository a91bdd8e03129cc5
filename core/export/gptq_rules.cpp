// SPDX-License-Identifier: Apache-2.0
#include "core/export/gptq_rules.h"

#include "core/export/packed_rules.h"

#include <algorithm>
#include <cstring>
#include <QRegularExpression>
#include <set>

namespace bitlathe {

namespace {

struct Settings {
  int bits = 0; ///< 0: not known
  std::int64_t group = -1;
  bool symmetric = true, ordered = false;
  bool skipped = false; ///< by "-:"
  bool operator==(const Settings& o) const {
    return bits == o.bits && group == o.group && symmetric == o.symmetric && skipped == o.skipped;
  }
};

bool is_bits(const OrderedJson& value) {
  return value == 2 || value == 3 || value == 4 || value == 8;
}

bool is_group(const OrderedJson& value) {
  return value.is_number_integer() &&
         (value == -1 || (value.get<std::int64_t>() > 0 && value.get<std::int64_t>() < (1 << 24)));
}

class Checker {
 public:
  explicit Checker(const PackedFolder& folder) : folder_(folder) {
    packed_ = folder.packed_names();
    plain_ = folder.plain_names();
  }

  std::vector<VerifyCheck> run() {
    check_settings();
    if (base_.bits > 0)
      for (const auto& name : packed_)
        check_module(name, folder_.modules.at(name));
    check_lists();
    check_joined();
    remark_loaders();
    return {settings_.check(), names_.check(),  shapes_.check(), zeros_.check(),
            groups_.check(),   scales_.check(), lists_.check(),  loaders_.remark()};
  }

 private:
  const OrderedJson& value(const char* key) const {
    static const OrderedJson none;
    const OrderedJson& from = folder_.settings.is_null() ? folder_.beside : folder_.settings;
    const auto it = from.is_object() ? from.find(key) : from.end();
    return from.is_object() && it != from.end() ? *it : none;
  }

  void check_settings() {
    if (folder_.settings.is_null())
      settings_.broken("config.json has no quantization_config, so transformers and vLLM look for "
                       "plain weights");
    else if (value("quant_method") != "gptq")
      settings_.broken("quant_method is " + value("quant_method").dump() + " instead of \"gptq\"");
    if (is_bits(value("bits")))
      base_.bits = value("bits").get<int>();
    else
      settings_.broken("\"bits\" is " + value("bits").dump() + " instead of 2, 3, 4 or 8");
    if (is_group(value("group_size")))
      base_.group = value("group_size").get<std::int64_t>();
    else
      settings_.broken("\"group_size\" is " + value("group_size").dump() +
                       " instead of -1 or a number of columns");
    for (const auto& [key, member] :
         {std::pair("sym", &base_.symmetric), std::pair("desc_act", &base_.ordered)})
      if (value(key).is_boolean())
        *member = value(key).get<bool>();
      else
        settings_.broken("\"" + std::string(key) + "\" is " + value(key).dump() +
                         ", but vLLM needs true or false");
    const auto& format =
        value("checkpoint_format").is_null() ? value("format") : value("checkpoint_format");
    if (!format.is_null() && format != "gptq" && format != "gptq_v2")
      settings_.broken("checkpoint_format is " + format.dump() +
                       " instead of \"gptq\" or \"gptq_v2\"");
    minus_one_ = format != "gptq_v2";
    if (const auto& damp = value("damp_percent");
        damp.is_number() && !(damp.get<double>() > 0 && damp.get<double>() < 1))
      settings_.broken("damp_percent is " + damp.dump() +
                       "; transformers wants it between 0 and 1");
    check_beside();
    read_dynamic();
  }

  /// The same settings are written twice, and loaders read the one or the other.
  void check_beside() {
    if (folder_.settings.is_null() || !folder_.beside.is_object())
      return;
    for (const char* key :
         {"bits", "group_size", "sym", "desc_act", "checkpoint_format", "lm_head", "dynamic"}) {
      const auto it = folder_.beside.find(key);
      if (it != folder_.beside.end() && !value(key).is_null() && *it != value(key))
        settings_.broken("quantize_config.json has " + std::string(key) + " " + it->dump() +
                         ", config.json " + value(key).dump());
    }
  }

  void read_dynamic() {
    const auto& dynamic = value("dynamic");
    if (dynamic.is_null())
      return;
    if (!dynamic.is_object()) {
      settings_.broken("\"dynamic\" is no object");
      return;
    }
    for (const auto& [key, overrides] : dynamic.items()) {
      Dynamic entry;
      entry.settings = base_;
      entry.settings.skipped = key.rfind("-:", 0) == 0;
      const auto from = entry.settings.skipped || key.rfind("+:", 0) == 0 ? 2u : 0u;
      entry.pattern.setPattern(QString::fromStdString("^(?:" + key.substr(from) + ")"));
      if (!entry.pattern.isValid()) {
        settings_.broken("the expression \"" + key + "\" of \"dynamic\" is not valid");
        continue;
      }
      if (overrides.is_object()) {
        const auto get = [&](const char* name) {
          const auto it = overrides.find(name);
          return it == overrides.end() ? OrderedJson() : *it;
        };
        if (is_bits(get("bits")))
          entry.settings.bits = get("bits").get<int>();
        if (is_group(get("group_size")))
          entry.settings.group = get("group_size").get<std::int64_t>();
        if (get("sym").is_boolean())
          entry.settings.symmetric = get("sym").get<bool>();
        if (get("desc_act").is_boolean())
          entry.settings.ordered = get("desc_act").get<bool>();
      }
      dynamic_.push_back(std::move(entry));
    }
  }

  Settings settings_of(const std::string& module) const {
    const QString name = QString::fromStdString(module);
    for (const Dynamic& entry : dynamic_)
      if (entry.pattern.match(name).hasMatch())
        return entry.settings;
    return base_;
  }

  void check_module(const std::string& name, const PackedParts& parts) {
    if (parts.count("weight"))
      names_.broken(name + " is stored both packed and plain");
    const auto part = [&](const char* key) -> const StoredTensor* {
      const auto it = parts.find(key);
      return it == parts.end() ? nullptr : it->second;
    };
    const StoredTensor *codes = part("qweight"), *zeros = part("qzeros"), *scales = part("scales"),
                       *index = part("g_idx");
    for (const auto& [key, tensor] :
         {std::pair("qweight", codes), std::pair("qzeros", zeros), std::pair("scales", scales)})
      if (!tensor)
        names_.broken(name + "." + key + " is missing");
    const Settings own = settings_of(name);
    if (own.skipped)
      lists_.broken(name + " is stored packed, but \"dynamic\" leaves it out");
    if (!index && own.ordered)
      names_.broken(name + ".g_idx is missing, but desc_act is true");
    else if (!index)
      without_index_.push_back(name);
    if (!codes || codes->shape.size() != 2 || codes->shape[0] * 32 % own.bits != 0 ||
        codes->dtype != "I32" || codes->data.empty()) {
      if (codes)
        shapes_.broken(name + ".qweight is no matrix of I32 with whole codes");
      return;
    }
    const auto cols = codes->shape[0] * 32 / own.bits, rows = codes->shape[1];
    const auto group = own.group > 0 ? own.group : cols;
    const auto count = (cols + group - 1) / group;
    if (const auto bias = parts.find("bias"); bias != parts.end())
      expect_packed(shapes_, name + ".bias", *bias->second, {rows}, "F16|BF16|F32");
    if (cols % 32 != 0 || rows % 32 != 0)
      odd_shapes_.push_back(name);
    if (own.group > 0 && cols % own.group != 0)
      odd_groups_.push_back(name);
    if (scales) {
      expect_packed(shapes_, name + ".scales", *scales, {count, rows}, "F16|BF16|F32");
      if (scales->dtype == "F16" || scales->dtype == "BF16" || scales->dtype == "F32")
        check_packed_scales(scales_, name, *scales);
    }
    if (zeros) {
      const std::vector<std::int64_t> shape{count, (rows * own.bits + 31) / 32};
      expect_packed(shapes_, name + ".qzeros", *zeros, shape, "I32");
      if (zeros->shape == shape && zeros->dtype == "I32")
        check_zeros(name, *zeros, own, rows);
    }
    if (index) {
      expect_packed(shapes_, name + ".g_idx", *index, {cols}, "I32");
      if (index->shape == std::vector{cols} && index->dtype == "I32")
        check_index(name, *index, own, group, count);
    }
  }

  void check_zeros(const std::string& name, const StoredTensor& zeros, const Settings& own,
                   std::int64_t rows) {
    const std::uint32_t top = (1u << own.bits) - 1;
    const std::uint32_t middle = (1u << (own.bits - 1)) - (minus_one_ ? 1 : 0);
    bool all = true, wraps = false;
    for (std::int64_t g = 0; g < zeros.shape[0]; ++g)
      for (std::int64_t row = 0; row < rows; ++row) {
        const auto stored = packed_field(zeros, g, row, own.bits);
        all = all && stored == middle;
        wraps = wraps || (minus_one_ && stored == top);
      }
    if (own.symmetric && !all)
      zeros_.broken(name + " is symmetric, but its zero points are not all the middle code, which "
                           "vLLM takes them for");
    if (!own.symmetric && wraps)
      wrapping_.push_back(name);
  }

  void check_index(const std::string& name, const StoredTensor& tensor, const Settings& own,
                   std::int64_t group, std::int64_t count) {
    std::vector<std::int32_t> index(std::size_t(tensor.shape[0]));
    std::memcpy(index.data(), tensor.data.data(), index.size() * 4);
    std::vector<std::int64_t> sizes(std::size_t(count), 0);
    bool inside = true, sequential = true, zero = true;
    for (std::size_t i = 0; i < index.size(); ++i) {
      inside = inside && index[i] >= 0 && index[i] < count;
      if (!inside)
        break;
      ++sizes[std::size_t(index[i])];
      sequential = sequential && index[i] == std::int64_t(i) / group;
      zero = zero && index[i] == 0;
    }
    if (!inside) {
      groups_.broken(name + ".g_idx has groups beyond the " + std::to_string(count) +
                     " that are stored");
      return;
    }
    if (zero && !sequential) {
      zero_index_.push_back(name);
      return;
    }
    if (!own.ordered && !sequential)
      groups_.broken(name + ".g_idx gives an order of columns, but desc_act is false, so vLLM does "
                            "not look at it");
    for (std::int64_t g = 0; g < count; ++g)
      if (sizes[std::size_t(g)] != std::min(group, std::int64_t(index.size()) - g * group)) {
        groups_.broken(name + ".g_idx gives group " + std::to_string(g) + " " +
                       std::to_string(sizes[std::size_t(g)]) + " columns");
        break;
      }
  }

  /// The lists of what is quantized, against what is.
  void check_lists() {
    std::set<std::string> in_blocks;
    for (const auto& name : packed_)
      in_blocks.insert(name_in_block(name));
    for (const auto& name : plain_)
      if (const auto tail = name_in_block(name);
          !tail.empty() && in_blocks.count(tail) && !settings_of(name).skipped)
        lists_.broken(name + " is plain, others of its kind are packed, and no \"-:\" of "
                             "\"dynamic\" says so: GPTQModel looks for packed codes");
    if (packed_.empty())
      names_.broken("no module is packed");

    std::vector<std::string> listed;
    const auto& list = value("modules_in_block_to_quantize");
    if (list.is_array())
      for (const auto& item : list) {
        if (item.is_string())
          listed.push_back(item.get<std::string>());
        else if (item.is_array())
          for (const auto& inner : item)
            if (inner.is_string())
              listed.push_back(inner.get<std::string>());
      }
    const auto named = [&](const std::string& module) {
      return std::any_of(listed.begin(), listed.end(), [&](const std::string& item) {
        return module.find(item) != std::string::npos;
      });
    };
    if (!listed.empty()) {
      for (const auto& name : packed_)
        if (!named(name))
          lists_.broken(name + " is packed, but not in modules_in_block_to_quantize");
      for (const auto& name : plain_)
        if (named(name) && !settings_of(name).skipped)
          lists_.broken(name + " is plain, but in modules_in_block_to_quantize");
    }

    const bool says_head = value("lm_head") == true;
    const auto head = std::find_if(packed_.begin(), packed_.end(), [](const std::string& name) {
      return name_in_block(name).empty();
    });
    if (says_head && head == packed_.end())
      lists_.broken("\"lm_head\" is true, but no head is packed");
    if (!says_head && head != packed_.end())
      lists_.broken(*head + " is packed, but \"lm_head\" is not true");
  }

  void check_joined() {
    for (const auto& [whole, parts] : joined_layers(packed_)) {
      const auto first = settings_of(parts.front());
      const auto index = [&](const std::string& part) {
        const auto& all = folder_.modules.at(part);
        const auto it = all.find("g_idx");
        return it == all.end() ? std::span<const std::byte>() : it->second->data;
      };
      for (const auto& part : parts) {
        if (!(settings_of(part) == first)) {
          loaders_.broken("vLLM joins " + whole + ", whose parts have different settings");
          break;
        }
        if (const auto a = index(parts.front()), b = index(part);
            first.ordered && !std::equal(a.begin(), a.end(), b.begin(), b.end())) {
          loaders_.broken("vLLM joins " + whole + ", whose parts have different orders of columns");
          break;
        }
      }
    }
  }

  static std::string some(const std::vector<std::string>& names) {
    return names.front() +
           (names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more" : "");
  }

  void remark_loaders() {
    std::set<std::string> kinds, sizes;
    bool mixed = false, three = false;
    for (const auto& name : packed_) {
      const auto own = settings_of(name);
      if (own.bits == 0)
        continue;
      if ((own.bits != 4 && own.bits != 8) || !own.symmetric)
        kinds.insert(std::to_string(own.bits) + " bits " +
                     (own.symmetric ? "symmetric" : "asymmetric"));
      if (own.group != -1 && own.group != 32 && own.group != 64 && own.group != 128)
        sizes.insert(std::to_string(own.group));
      mixed = mixed || own.bits != base_.bits || own.group != base_.group;
      three = three || own.bits == 3;
    }
    for (const auto& kind : kinds)
      loaders_.broken("vLLM does not run " + kind);
    for (const auto& size : sizes)
      loaders_.broken("vLLM's kernels do not know groups of " + size);
    if (!odd_groups_.empty())
      loaders_.broken("vLLM needs whole groups: " + some(odd_groups_));
    if (!odd_shapes_.empty())
      loaders_.broken("GPTQModel needs sides that divide by 32: " + some(odd_shapes_));
    if (mixed)
      loaders_.broken("transformers does not load different bits or groups");
    if (three)
      loaders_.broken("llama.cpp's converter does not read 3 bits");
    if (!without_index_.empty())
      loaders_.broken("llama.cpp's converter needs g_idx: " + some(without_index_));
    if (!zero_index_.empty())
      loaders_.broken("g_idx is zero throughout, which only some loaders take for columns in "
                      "order: " +
                      some(zero_index_));
    if (!wrapping_.empty())
      loaders_.broken("a zero point of 0 in version 1 differs between loaders: " + some(wrapping_));
    if (minus_one_ && !base_.symmetric &&
        value("meta").dump().find("gptqmodel") == std::string::npos)
      loaders_.broken("GPTQModel refuses asymmetric codes of version 1 that others wrote");
  }

  struct Dynamic {
    QRegularExpression pattern;
    Settings settings;
  };
  const PackedFolder& folder_;
  std::vector<std::string> packed_, plain_;
  Settings base_;
  bool minus_one_ = true;
  std::vector<Dynamic> dynamic_;
  std::vector<std::string> without_index_, odd_shapes_, odd_groups_, wrapping_, zero_index_;
  PackedRule settings_{"gptq settings", "every key that the loaders need, with values they know"};
  PackedRule names_{"gptq names",
                    "every packed module has all of its tensors, none is stored twice"};
  PackedRule shapes_{"gptq shapes", "shapes and types follow from the settings"};
  PackedRule zeros_{"gptq zero points", "symmetric modules have the middle code everywhere"};
  PackedRule groups_{"gptq groups", "g_idx names whole groups, in the order that desc_act says"};
  PackedRule scales_{"gptq scales", "all finite"};
  PackedRule lists_{"gptq lists", "what the settings leave out is plain, the rest is packed"};
  PackedRule loaders_{"gptq loaders", "within what vLLM, GPTQModel, transformers and llama.cpp's "
                                      "converter take"};
};

} // namespace

std::vector<VerifyCheck> gptq_rules(const fs::path& path) {
  const auto folder = read_packed_folder(path);
  if (!folder)
    return {{"gptq files", false, folder.error().text()}};
  return Checker(**folder).run();
}

} // namespace bitlathe
