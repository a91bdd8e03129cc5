// SPDX-License-Identifier: GPL-3.0-or-later
// bitlathe-cli VERB ... [--json]: finds the verb, reads its options, runs it, prints one document.
// Exit codes: 0 done, 1 failed, 2 usage, 130 cancelled.
#include "app/cli/verb.h"

#include "core/job/memory.h"
#include "core/methods/method.h"
#include "core/observers/observer.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <QCommandLineParser>
#include <thread>
#include <unistd.h>

namespace bitlathe {

namespace {

constexpr VerbOption common_options[] = {
    {"json", "", "Print exactly one JSON document on standard output."},
    {"backend", "NAME", "auto (default), cpu or vulkan."},
    {"threads", "N", "Worker threads; default: all, or BITLATHE_THREADS."},
    {"memory-cap", "SIZE", "Keep the memory use under SIZE.", false, true},
    {"seed", "N", "Seed of everything random (default 0)."},
    {"quiet", "", "No progress and no log on standard error."},
    {"help", "", "Show this help."},
};

/// The common options that a verb does not have in another form.
std::vector<VerbOption> common_of(const Verb& verb) {
  std::vector<VerbOption> out;
  for (const VerbOption& common : common_options)
    if (std::none_of(verb.options.begin(), verb.options.end(),
                     [&](const VerbOption& own) { return own.name == common.name; }))
      out.push_back(common);
  return out;
}
std::vector<VerbOption> options_of(const Verb& verb) {
  std::vector<VerbOption> out(verb.options.begin(), verb.options.end());
  const auto common = common_of(verb);
  out.insert(out.end(), common.begin(), common.end());
  return out;
}

Feedback* interrupted = nullptr;
void on_interrupt(int) {
  if (interrupted)
    interrupted->stop.store(true);
}

QString q(std::string_view text) { return QString::fromUtf8(text.data(), qsizetype(text.size())); }

void print_usage(std::ostream& out) {
  out << "bitlathe-cli " BITLATHE_VERSION "\n\nusage: bitlathe-cli VERB ... [--json]\n\n";
  TextTable table({"VERB", ""});
  for (const Verb* verb : all_verbs())
    table.add(
        {std::string(verb->id) + " " + std::string(verb->arguments), std::string(verb->summary)});
  table.print(out);
  out << "\nbitlathe-cli VERB --help shows a verb's options.\n";
}

void print_options(std::ostream& out, std::span<const VerbOption> options) {
  for (const VerbOption& option : options) {
    std::string left = (option.name.size() == 1 ? "  -" : "  --") + std::string(option.name);
    if (!option.value.empty())
      left += " " + std::string(option.value) + (option.list ? "..." : "");
    left.resize(std::max<std::size_t>(left.size() + 2, 30), ' ');
    out << left << option.summary << (option.not_yet ? " Not available yet." : "") << '\n';
  }
}

/// What --scheme, --method, --param and --observer take, from the tables that make them.
void print_choices(std::ostream& out) {
  out << "\nSchemes:\n";
  for (const SchemeFamily* family : all_scheme_families())
    out << "  " << family->grammar << "\n      " << family->summary << '\n';
  out << "\nMethods and their parameters:\n";
  for (const Method* method : all_methods()) {
    out << "  " << method->id << "  " << method->summary << '\n';
    for (const MethodParam& param : method->params)
      out << "      " << method->id << '.' << param.key << '=' << param.standard << "  "
          << param.summary << '\n';
  }
  out << "\nObservers:\n";
  for (const Observer* observer : all_observers())
    out << "  " << observer->id << "  " << observer->summary << '\n';
}

void print_help(const Verb& verb, std::ostream& out) {
  out << "usage: bitlathe-cli " << verb.id << ' ' << verb.arguments << "\n\n"
      << verb.summary << "\n\n";
  print_options(out, verb.options);
  out << '\n';
  print_options(out, common_of(verb));
  if (std::any_of(verb.options.begin(), verb.options.end(),
                  [](const VerbOption& option) { return option.name == "scheme"; }))
    print_choices(out);
}

const VerbOption* find_option(const Verb& verb, const QString& word) {
  const QString name = word.startsWith("--")  ? word.mid(2)
                       : word.startsWith('-') ? word.mid(1)
                                              : QString();
  for (const auto options : {verb.options, std::span<const VerbOption>(common_options)})
    for (const VerbOption& option : options)
      if (!name.isEmpty() && q(option.name) == name)
        return &option;
  return nullptr;
}

/// "--exclude a b" becomes "--exclude a --exclude b", which is what the option parser knows. Values
/// taken that way are given back from the end when positional arguments are missing.
QStringList expand_lists(const Verb& verb, const QStringList& words) {
  QStringList expanded;
  const VerbOption* list = nullptr;
  int positional = 0, taken = 0;
  bool expects_value = false;
  for (const QString& word : words) {
    if (expects_value) {
      expects_value = false;
      expanded << word;
      continue;
    }
    if (word.startsWith('-') && word.size() > 1) {
      const VerbOption* option = find_option(verb, word.section('=', 0, 0));
      list = option && option->list ? option : nullptr;
      taken = 0;
      expects_value = option && !option->value.empty() && !word.contains('=');
      expanded << word;
    } else if (list) {
      ++taken;
      expanded << "--" + q(list->name) << word;
    } else {
      ++positional;
      expanded << word;
    }
  }
  for (; positional < verb.min_arguments && taken > 0; ++positional, --taken)
    expanded.removeAt(expanded.size() - 2 * taken);
  return expanded;
}

Result<Invocation*> parse(const Verb& verb, const QStringList& words, Invocation& invocation) {
  QCommandLineParser parser;
  const auto options = options_of(verb);
  for (const VerbOption& option : options)
    parser.addOption(QCommandLineOption(q(option.name), q(option.summary), q(option.value)));
  if (!parser.parse(QStringList{"bitlathe-cli"} + expand_lists(verb, words)))
    return usage_error(parser.errorText().toStdString());
  for (const VerbOption& option : options) {
    if (!parser.isSet(q(option.name)))
      continue;
    if (option.not_yet)
      return usage_error("--" + std::string(option.name) + " is not available yet");
    auto& values = invocation.options[std::string(option.name)];
    for (const QString& value : parser.values(q(option.name)))
      values.push_back(value.toStdString());
  }
  for (const QString& argument : parser.positionalArguments())
    invocation.arguments.push_back(argument.toStdString());
  const int count = int(invocation.arguments.size());
  if (!invocation.has("help") && (count < verb.min_arguments || count > verb.max_arguments))
    return usage_error("usage: bitlathe-cli " + std::string(verb.id) + " " +
                       std::string(verb.arguments));
  return &invocation;
}

/// Progress on standard error while a verb runs: one line that is rewritten on a terminal, nothing
/// otherwise.
class ProgressLine {
 public:
  ProgressLine(Feedback& feedback, bool quiet) : feedback_(feedback) {
    if (!quiet && isatty(STDERR_FILENO))
      thread_ = std::jthread([this](const std::stop_token& stop) { loop(stop); });
  }

 private:
  void loop(const std::stop_token& stop) {
    const auto start = std::chrono::steady_clock::now();
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      const double done = double(feedback_.done.load()), total = double(feedback_.total.load());
      if (total <= 0 || done <= 0)
        continue;
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      std::fprintf(stderr, "\r\033[K%3.0f %%  %.0f s left  %s", 100 * done / total,
                   seconds * (total - done) / done, feedback_.step().c_str());
    }
    std::fprintf(stderr, "\r\033[K");
  }
  Feedback& feedback_;
  std::jthread thread_;
};

int report(const Error& error, bool json) {
  if (error.code == "usage") {
    std::cerr << error.message << '\n';
    return 2;
  }
  if (json)
    std::cout
        << OrderedJson{{"error",
                        {{"code", error.code}, {"message", error.message}, {"where", error.where}}}}
               .dump(2, ' ', false, OrderedJson::error_handler_t::replace)
        << '\n';
  std::cerr << (error.cancelled() ? "Cancelled" : "Error: " + error.text()) << '\n';
  return error.cancelled() ? 130 : 1;
}

int run_verb(const Verb& verb, const QStringList& words) {
  Feedback feedback;
  Invocation invocation(feedback);
  const bool json_wanted = words.contains("--json");
  if (auto parsed = parse(verb, words, invocation); !parsed)
    return report(parsed.error(), json_wanted);
  if (invocation.has("help")) {
    print_help(verb, std::cout);
    return 0;
  }
  const bool json = invocation.has("json"), quiet = invocation.has("quiet");
  auto threads = invocation.integer("threads", 0, 1);
  auto seed = invocation.integer("seed", 0, 0);
  if (!threads || !seed)
    return report(!threads ? threads.error() : seed.error(), json);
  if (*threads > 0)
    set_thread_count(int(*threads));
  if (!quiet)
    feedback.set_sink([](LogLevel level, const std::string& line) {
      std::cerr << (level == LogLevel::warning ? "Warning: "
                    : level == LogLevel::error ? "Error: "
                                               : "")
                << line << '\n';
    });
  interrupted = &feedback;
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  std::signal(SIGXFSZ, SIG_IGN); // a file-size limit is reported like a full disk
  start_memory_watch();

  Result<OrderedJson> document = [&] {
    ProgressLine progress(feedback, quiet);
    return verb.run(invocation);
  }();
  if (!document)
    return report(document.error(), json);
  for (const std::string& note : invocation.backend_notes()) {
    auto& notes = (*document)["notes"];
    if (std::find(notes.begin(), notes.end(), note) == notes.end())
      notes.push_back(note);
  }
  if (json)
    std::cout << document->dump(2, ' ', false, OrderedJson::error_handler_t::replace) << '\n';
  else
    verb.show(*document, std::cout);
  std::cout.flush();
  return std::cout ? 0 : report({"io", "Cannot write the output", "standard output"}, false);
}

} // namespace

} // namespace bitlathe

int main(int argc, char** argv) {
  using namespace bitlathe;
  QStringList words;
  for (int i = 1; i < argc; ++i)
    words << QString::fromLocal8Bit(argv[i]);
  if (words.isEmpty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_usage(words.isEmpty() ? std::cerr : std::cout);
    return words.isEmpty() ? 2 : 0;
  }
  if (words[0] == "--version") {
    std::cout << "bitlathe-cli " BITLATHE_VERSION "\n";
    return 0;
  }
  const QString id = words.takeFirst();
  for (const Verb* verb : all_verbs())
    if (q(verb->id) == id)
      return run_verb(*verb, words);
  std::cerr << "Unknown verb \"" << id.toStdString() << "\"\n\n";
  print_usage(std::cerr);
  return 2;
}
