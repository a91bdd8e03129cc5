// SPDX-License-Identifier: GPL-3.0-or-later
// Chat templates against Jinja itself (tests/golden/chat.json, made by tests/reference/chat.py),
// the ways of a conversation into a model, and templates that would never end.
#include "core/chat/chat.h"
#include "core/chat/jinja/template.h"
#include "core/text/tokenizer.h"
#include "tests/support.h"

#include <QElapsedTimer>
#include <QTemporaryDir>
#include <QTest>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>

using namespace bitlathe;

namespace {

// 2026-03-07 09:05:02 UTC, as in chat.py.
constexpr std::int64_t now = 1772874302;
const auto reference = test::source_dir() / "tests" / "reference" / "chat";

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

OrderedJson read_json(const std::filesystem::path& path) { return OrderedJson::parse(read(path)); }

std::string shortened(const std::string& text) {
  return text.size() > 1500 ? text.substr(0, 1500) + "..." : text;
}

/// A copy of the demo model's folder by links, with other files in place of some.
void link_demo(const std::filesystem::path& to,
               const std::vector<std::pair<std::string, std::string>>& files) {
  for (const auto& entry : std::filesystem::directory_iterator(test::demo_model())) {
    const std::string name = entry.path().filename().string();
    const bool other = std::any_of(files.begin(), files.end(),
                                   [&](const auto& file) { return file.first == name; });
    if (entry.is_regular_file() && !other)
      std::filesystem::create_symlink(entry.path(), to / name);
  }
  for (const auto& [name, text] : files)
    if (!text.empty())
      std::ofstream(to / name, std::ios::binary) << text;
}

} // namespace

class TestChat : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() {
    qputenv("TZ", "UTC");
    tzset();
  }

  void rendersAsJinja() {
    const OrderedJson golden = read_json(test::source_dir() / "tests" / "golden" / "chat.json");
    const OrderedJson conversations = read_json(reference / "conversations.json");
    int compared = 0;
    for (const auto& one : golden["cases"]) {
      const std::string name = one["template"], title = one["conversation"];
      ChatOptions options;
      options.now = now;
      options.add_generation_prompt = one["generation"];
      for (const auto& [token, text] : golden["tokens"].items())
        options.special_tokens[token] = text;
      const auto messages =
          parse_conversation(without_variables(conversations[title], options).dump(), options, {});
      QVERIFY2(messages.ok(), messages.ok() ? "" : messages.error().text().c_str());
      const auto rendered = render_chat(read(reference / (name + ".jinja")), *messages, options);
      const std::string what = name + ", " + title;
      if (one.contains("error")) {
        QVERIFY2(!rendered.ok(), (what + " is refused by Jinja").c_str());
        QVERIFY2(!rendered.error().message.empty(), what.c_str());
        continue;
      }
      QVERIFY2(rendered.ok(), (what + ": " + (rendered ? "" : rendered.error().text())).c_str());
      if (*rendered != one["rendered"].get<std::string>())
        QFAIL((what + "\nours:\n" + shortened(*rendered) + "\nJinja:\n" +
               shortened(one["rendered"].get<std::string>()))
                  .c_str());
      ++compared;
    }
    QVERIFY(compared > 150);
  }

  void evaluatesAsJinja() {
    const OrderedJson golden = read_json(test::source_dir() / "tests" / "golden" / "chat.json");
    const OrderedJson variables = read_json(reference / "variables.json");
    int failures = 0;
    for (const auto& one : golden["expressions"]) {
      const std::string source = one["source"];
      const auto rendered = jinja::render(source, variables, now, {});
      if (one.contains("error")) {
        if (rendered.ok()) {
          ++failures;
          qWarning("%s\nours: %s\nJinja refuses: %s", source.c_str(), rendered->c_str(),
                   one["error"].get<std::string>().c_str());
        }
        continue;
      }
      const std::string wanted = one["rendered"];
      if (!rendered.ok() || *rendered != wanted) {
        ++failures;
        qWarning("%s\nours:  %s\nJinja: %s", source.c_str(),
                 rendered ? rendered->c_str() : rendered.error().text().c_str(), wanted.c_str());
      }
    }
    QCOMPARE(failures, 0);
  }

  /// Whatever a template does, it ends soon, with a sentence.
  void endsSoon_data() {
    QTest::addColumn<QString>("source");
    const auto add = [](const char* name, const QString& source) { QTest::newRow(name) << source; };
    add("range", "{{ range(10 ** 9)|list }}");
    add("loops", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}");
    add("output", "{% for a in range(99999) %}{{ 'x' * 10000 }}{% endfor %}");
    add("repeat", "{{ 'abc' * 10 ** 12 }}");
    add("repeat list", "{{ [1, 2] * 10 ** 10 }}");
    add("doubling",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}"
        "{% endfor %}");
    add("doubling lists", "{% set n = namespace(x=[1]) %}{% for i in range(99) %}"
                          "{% set n.x = n.x + n.x %}{% endfor %}");
    add("shared lists", "{% set n = namespace(x=[1]) %}{% for i in range(99) %}"
                        "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}");
    add("shared, compared", "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(99) %}"
                            "{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}"
                            "{{ n.x == n.y }}");
    add("deep lists", "{% set n = namespace(x=[]) %}{% for i in range(99999) %}"
                      "{% set n.x = [n.x] %}{% endfor %}{{ n.x }}");
    add("replace", "{% set x = 'a' * 100000 %}{{ x.replace('a', x) }}");
    add("join", "{{ range(99999)|join('x' * 100000) }}");
    add("indent", "{{ ('\\n' * 100000)|indent(100000, blank=true) }}");
    add("center", "{{ 'x'.center(10 ** 15) }}");
    add("width", "{{ '%999999999d' % 1 }}");
    add("spec", "{{ '{:999999999}'.format(1) }}");
    add("json", "{{ [[[[1]]]]|tojson(indent=10 ** 12) }}");
    add("power", "{{ 9 ** 9 ** 9 }}");
    add("macro", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    add("two macros", "{% macro g() %}{{ f() }}{% endmacro %}{% macro f() %}{{ g() }}{% endmacro %}"
                      "{{ f() }}");
    add("caller",
        "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}");
    add("recursive loop", "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}");
    add("search", "{% set a = 'a' * 1000000 %}{% for i in range(99999) %}"
                  "{{ a.find('b' ~ i) ~ (a in 'x') ~ a|length }}{% endfor %}");
    add("split", "{% set a = 'a ' * 1000000 %}{% for i in range(9999) %}{% set b = a.split() %}"
                 "{% endfor %}");
    add("batch", "{{ [1]|batch(10 ** 12, 0)|list }}");
    add("slice", "{{ [1]|slice(10 ** 12)|list }}");
    add("parentheses", "{{ " + QString(100000, '(') + "1" + QString(100000, ')') + " }}");
    add("brackets", "{{ " + QString(100000, '[') + " }}");
    add("nots", "{{ " + QString("not ").repeated(100000) + "1 }}");
    add("signs", "{{ " + QString(100000, '-') + "1 }}");
    add("sum", "{{ 1" + QString("+1").repeated(100000) + " }}");
    add("attributes", "{{ a" + QString(".a").repeated(100000) + " }}");
    add("filters", "{{ 1" + QString("|abs").repeated(100000) + " }}");
    add("ifs", QString("{% if 1 %}").repeated(50000));
    add("inline ifs", "{{ " + QString("1 if 0 else ").repeated(100000) + "1 }}");
  }
  void endsSoon() {
    QFETCH(QString, source);
    QElapsedTimer timer;
    timer.start();
    const auto out = jinja::render(source.toStdString(), OrderedJson::object(), now, "here");
    QVERIFY(!out.ok());
    QVERIFY(out.error().message.size() < 400);
    QVERIFY2(timer.elapsed() < 8000, qPrintable(QString::number(timer.elapsed())));
  }

  /// Values that hold themselves are let go (the sanitizers look).
  void rings() {
    for (const char* source :
         {"{% set n = namespace() %}{% set n.n = n %}{% set n.l = [n] %}{{ n.n.n.l|length }}",
          "{% set n = namespace() %}{% macro m() %}{{ n.m is defined }}{% endmacro %}"
          "{% set n.m = m %}{{ n.m() }}",
          "{% set n = namespace() %}{% for i in [1, 2] %}{% set n.f = loop.changed %}"
          "{{ loop.changed(loop) }}{% endfor %}{{ n.f(1) }}",
          "{% set n = namespace() %}{% for i in range(9999) %}{% set n.n = namespace(n=n.n) %}"
          "{% endfor %}x",
          "{% macro a() %}{% endmacro %}{% set b = [a] %}{% set c = {'a': b} %}x",
          "{% set n = namespace() %}{% call(x) n.nosuch() %}{% endcall %}"})
      (void)jinja::render(source, OrderedJson::object(), now, {}).ok();
  }

  void errorsSayWhere() {
    const auto problem = [](const char* source) {
      const auto out = jinja::render(source, OrderedJson::object(), now, "chat_template.jinja");
      return out ? QString() : QString::fromStdString(out.error().text());
    };
    QVERIFY(problem("a\nb\n{{ x.y }}").contains("line 3"));
    QVERIFY(problem("a\nb\n{{ x.y }}").contains("'x' is undefined"));
    QVERIFY(problem("{% import 'x' as y %}").contains("{% import %} is not supported"));
    QVERIFY(problem("{{ 1|xmlattr }}").contains("filter 'xmlattr'"));
    QVERIFY(problem("{{ 1 is odder }}").contains("test 'odder'"));
    QVERIFY(problem("\n{% frob %}").contains("line 2: Unknown statement {% frob %}"));
    QVERIFY(problem("\n\n{{ raise_exception('too loud') }}").contains("too loud"));
    QVERIFY(problem("{{ 9223372036854775807 + 1 }}").contains("64 bits"));
    QVERIFY(problem("{{ x").contains("never closed"));
    QVERIFY(problem("{{ x.y }}").contains("chat_template.jinja"));
  }

  void conversations() {
    ChatOptions options;
    QVERIFY(parse_conversation(R"([{"role": "user", "content": "a"}])", options, {}).ok());
    QVERIFY(options.tools.is_null());
    const auto whole = parse_conversation(
        R"({"messages": [], "tools": [{"z": 1, "a": 2}], "add_generation_prompt": false,
            "chat_template_kwargs": {"enable_thinking": false}})",
        options, {});
    QVERIFY(whole.ok());
    QCOMPARE(options.tools.dump(), std::string(R"([{"z":1,"a":2}])")); // order is kept
    QVERIFY(!options.add_generation_prompt);
    QCOMPARE(options.variables["enable_thinking"].get<bool>(), false);
    for (const char* bad : {"", "{}", "5", "[1", "{\"messages\": [], \"mesages\": 1}", "\"a\"",
                            "{\"messages\": [], \"add_generation_prompt\": 1}"})
      QVERIFY2(!parse_conversation(bad, options, "file").ok(), bad);
    for (const char* bad : {"5", "[5]", "[{}]", "[{\"role\": 1}]"})
      QVERIFY2(!render_chat("x", OrderedJson::parse(bad), {}, {}).ok(), bad);
    // Invalid UTF-8 is replaced, as a text of Python cannot hold it.
    QCOMPARE(*render_chat("{{ messages[0].content|length }}", chat_messages("a\xff\xfe"), {}),
             std::string("3"));
  }

  void checkpoints() {
    const auto demo = open_checkpoint(test::demo_model());
    QVERIFY(demo.ok());
    QVERIFY(has_chat_template(**demo));
    const auto prompt = chat_prompt(**demo, chat_messages("Hello", "Be brief"));
    QVERIFY2(prompt.ok(), prompt ? "" : prompt.error().text().c_str());
    QVERIFY(prompt->text.find("Hello") != std::string::npos);
    EncodeOptions plain;
    plain.add_special = false;
    plain.parse_special = true;
    QCOMPARE(prompt->ids, (*demo)->tokenizer->encode(prompt->text, plain));
    QVERIFY(std::find(prompt->stop.begin(), prompt->stop.end(), (*demo)->tokenizer->eos()) !=
            prompt->stop.end());

    const auto opened = [](const std::vector<std::pair<std::string, std::string>>& files) {
      QTemporaryDir dir;
      link_demo(dir.path().toStdString(), files);
      auto out = open_checkpoint(dir.path().toStdString());
      struct Kept {
        std::string text, tools, error;
        std::map<std::string, std::string> tokens;
        std::vector<std::int32_t> stop;
      } kept;
      if (!out.ok()) {
        kept.error = out.error().text();
        return kept;
      }
      const auto found = find_chat_template(**out), tools = find_chat_template(**out, true);
      kept.text = found ? found->text : "";
      kept.tools = tools ? tools->text : "";
      kept.error = found ? "" : found.error().text();
      kept.tokens = chat_special_tokens(**out);
      kept.stop = end_of_turn_tokens(**out);
      return kept;
    };
    const auto none = opened({{"chat_template.jinja", ""}, {"tokenizer_config.json", "{}"}});
    QVERIFY(QString::fromStdString(none.error).contains("no chat template"));
    QVERIFY(QString::fromStdString(none.error).contains("plain prompt works"));
    QCOMPARE(opened({{"chat_template.jinja", "J"}, {"tokenizer_config.json", R"({"chat_template":
             "C"})"}})
                 .text,
             std::string("J"));
    const auto named = opened({{"chat_template.jinja", ""},
                               {"tokenizer_config.json",
                                R"({"chat_template": [{"name": "tool_use", "template": "T"},
                                    {"name": "default", "template": "D"}],
                                    "bos_token": null, "eos_token": {"content": "<end>"}})"}});
    QCOMPARE(named.text + named.tools, std::string("DT"));
    QCOMPARE(named.tokens.count("bos_token"), std::size_t(0));
    QCOMPARE(opened({{"chat_template.jinja", ""},
                     {"tokenizer_config.json", "{}"},
                     {"chat_template.json", R"({"chat_template": "P"})"}})
                 .text,
             std::string("P"));
    const auto stops =
        opened({{"generation_config.json", R"({"eos_token_id": [5, 7, 99999999, -1]})"}}).stop;
    QVERIFY(std::find(stops.begin(), stops.end(), 7) != stops.end());
    QVERIFY(std::find(stops.begin(), stops.end(), 99999999) == stops.end());
  }

 private:
  /// What is no part of a conversation file goes to the variables.
  static OrderedJson without_variables(const OrderedJson& conversation, ChatOptions& options) {
    OrderedJson out = OrderedJson::object();
    for (const auto& [key, value] : conversation.items())
      if (key == "messages" || key == "tools" || key == "documents")
        out[key] = value;
      else
        options.variables[key] = value;
    return out;
  }
};

QTEST_GUILESS_MAIN(TestChat)
#include "tst_chat.moc"
