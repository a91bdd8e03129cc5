// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/io/files.h"
#include "core/text/tokenizer.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>

namespace bitlathe {

std::string Invocation::text(std::string_view option, std::string otherwise) const {
  const auto it = options.find(option);
  return it == options.end() || it->second.empty() ? std::move(otherwise) : it->second.back();
}

std::vector<std::string> Invocation::list(std::string_view option) const {
  const auto it = options.find(option);
  return it == options.end() ? std::vector<std::string>() : it->second;
}

Result<std::int64_t> Invocation::integer(std::string_view option, std::int64_t otherwise,
                                         std::int64_t low) const {
  if (!has(option))
    return otherwise;
  const std::string given = text(option);
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(given.c_str(), &end, 10);
  if (given.empty() || *end || errno || value < low)
    return usage_error("--" + std::string(option) + " takes a whole number of at least " +
                       std::to_string(low) + ", not \"" + given + "\"");
  return value;
}

Result<double> Invocation::number(std::string_view option, double otherwise, double low) const {
  if (!has(option))
    return otherwise;
  const std::string given = text(option);
  char* end = nullptr;
  const double value = std::strtod(given.c_str(), &end);
  if (given.empty() || *end || !std::isfinite(value) || value < low)
    return usage_error("--" + std::string(option) + " takes a number of at least " +
                       show_number(low) + ", not \"" + given + "\"");
  return value;
}

namespace {

/// Compiled pipelines are kept between runs; empty when there is no home to keep them in.
std::string cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    return std::string(cache) + "/bitlathe";
  const char* home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/bitlathe" : std::string();
}

} // namespace

Result<Compute*> Invocation::compute() {
  if (!compute_) {
    const std::string backend = text("backend", "auto");
    if (backend != "auto" && backend != "cpu" && backend != "vulkan")
      return usage_error("--backend is auto, cpu or vulkan, not \"" + backend + "\"");
    VulkanOptions vulkan;
    vulkan.cache_dir = cache_folder();
    auto made = make_compute(backend, vulkan);
    if (!made && backend == "vulkan" && made.error().code == "no-device" &&
        !std::getenv("BITLATHE_GPU")) {
      fallback_note_ = "No Vulkan device; using the CPU: " + made.error().message;
      feedback.log(LogLevel::warning, fallback_note_);
      made = make_compute("cpu");
    }
    TRY_ASSIGN(compute_, std::move(made));
    feedback.log(LogLevel::info,
                 "Backend: " + compute_->device().backend + ", " + compute_->device().name);
  }
  return compute_.get();
}

std::vector<std::string> Invocation::backend_notes() const {
  std::vector<std::string> notes = compute_ ? compute_->notes() : std::vector<std::string>();
  if (!fallback_note_.empty())
    notes.push_back(fallback_note_);
  return notes;
}

Error usage_error(std::string message) { return {"usage", std::move(message), {}}; }

Result<std::shared_ptr<const Checkpoint>> open_model(const std::string& path) {
  return open_checkpoint(path);
}

Result<std::string> read_text_file(const std::string& path) { return read_file(path, 1u << 30); }

namespace {

Result<std::vector<std::int32_t>> read_ids(const std::string& path) {
  TRY_ASSIGN(const Json json, read_json_file(path));
  const Error wrong{"bad-file", "Expected a JSON list of token ids", path};
  if (!json.is_array())
    return wrong;
  std::vector<std::int32_t> ids;
  for (const Json& id : json) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > INT32_MAX)
      return wrong;
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

} // namespace

Result<std::optional<std::vector<std::int32_t>>> given_ids(const Invocation& invocation) {
  if (!invocation.has("ids"))
    return std::optional<std::vector<std::int32_t>>();
  TRY_ASSIGN(auto ids, read_ids(invocation.text("ids")));
  return std::optional(std::move(ids));
}

} // namespace bitlathe
