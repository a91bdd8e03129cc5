// SPDX-License-Identifier: GPL-3.0-or-later
// Reports: what a session holds is in the page, the page is well-formed whatever names it shows,
// and the same document becomes paper.
#include "app/report/pdf.h"
#include "core/eval/verdict.h"
#include "core/io/files.h"
#include "core/job/result_store.h"
#include "core/judge/desk.h"
#include "core/judge/transcripts.h"
#include "core/report/charts.h"
#include "core/report/comparison.h"
#include "core/report/html.h"
#include "core/report/numbers.h"
#include "core/report/report.h"

#include <cmath>
#include <QSvgRenderer>
#include <QTemporaryDir>
#include <QTest>
#include <QXmlStreamReader>

using namespace bitlathe;
using namespace bitlathe::report;

namespace {

const fs::path demo = fs::path(BITLATHE_SOURCE_DIR) / "resources/demo";

/// All text of a page; empty and `problem` set when it is not well-formed.
QString text_of(const std::string& html, QString* problem) {
  QXmlStreamReader reader(QByteArray::fromStdString(html));
  QString out;
  while (!reader.atEnd())
    if (reader.readNext() == QXmlStreamReader::Characters)
      out += reader.text();
  *problem = reader.hasError() ? reader.errorString() : QString();
  return out;
}

CompareReport figures() {
  CompareReport report;
  report.noise_floor = 1e-6;
  report.reference_perplexity = 8;
  report.reference_stderr = 0.5;
  report.reference_window_nll = {2, 2.1};
  CompareResult model;
  model.path = "/somewhere/small";
  model.bytes = 3u << 20;
  model.tokens = 100;
  model.perplexity = 8.4;
  model.perplexity_stderr = 0.5;
  model.ppl_ratio = 1.05;
  model.ppl_ratio_stderr = 0.01;
  model.kld_mean = 0.0321;
  model.kld_stderr = 0.002;
  model.top1_agreement = 0.875;
  model.window_kld = {0.03, 0.04};
  model.by_class = {{"number", 7, 0.0777, 0.01, 0.1}};
  model.worst = {{0, 9, 65, 66, 67, 2.5, 0.9, 0.1}};
  report.models = {model};
  return report;
}

} // namespace

class TestReport : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::unique_ptr<Compute> compute_;
  Feedback feedback_;
  fs::path place(const char* name) const { return fs::path(folder_.path().toStdString()) / name; }

  /// A session on the demo model with everything in it.
  Session session() {
    Session out;
    out.checkpoint = demo.string();
    out.recipe.default_scheme = "int4-g64-asym";
    out.compare = figures();
    SessionVariant variant;
    variant.title = "a <variant> & more";
    variant.recipe = out.recipe;
    variant.bytes = 3u << 20;
    variant.bits_per_weight = 4.5;
    variant.figures = out.compare->models[0];
    variant.judged_on = "evaluation.txt";
    variant.noise_floor = 1e-6;
    SessionVariant baseline = variant;
    baseline.title = "uniform";
    baseline.baseline = true;
    out.variants = {variant, baseline};
    Transcript transcript;
    transcript.prompt = "Say \"<b>\"\nplease";
    transcript.sides.resize(2);
    transcript.sides[0].title = "original";
    transcript.sides[0].text = "<script>alert(1)</script>";
    transcript.sides[1].problem = "it gave NaN";
    out.stages["transcripts"] = transcripts_to_json({transcript});
    DeskMaterial material;
    material.models = {{"original", demo.string()}, {"a <variant> & more", "/elsewhere"}};
    for (int i = 0; i < 24; ++i)
      material.prompts.push_back(
          {"story-" + std::to_string(i),
           "story",
           "",
           "Once",
           false,
           {{true, "kept " + std::to_string(i), ""}, {true, "lost " + std::to_string(i), ""}}});
    DeskOptions options;
    options.models = {0, 1};
    auto sealed = Desk::make(material, options);
    auto desk = Desk::make(material, options);
    while (const auto item = desk->next())
      desk->cast(*item, desk->items()[*item].a[0] == 'k' ? Vote::a : Vote::b);
    desk->unseal();
    out.stages["desk"] = desks_to_json({*desk, *sealed});
    out.stages["evaluate"] = {{"text", (demo / "evaluation.txt").string()}, {"context", 64}};
    return out;
  }

 private Q_SLOTS:
  void initTestCase() {
    auto made = make_compute("cpu");
    QVERIFY(made);
    compute_ = std::move(*made);
  }

  void aSessionBecomesAPage() {
    Session session = this->session();
    auto model = open_checkpoint(demo);
    QVERIFY(model);
    auto plan = make_plan(**model, session.recipe);
    QVERIFY(plan);
    QuantizeOptions options;
    options.result_folder = place("result");
    QVERIFY(run_quantize(**model, *plan, *compute_, options, feedback_));
    session.result = "result"; // relative to the session's file
    const fs::path file = place("work.bitlathe");
    QVERIFY(write_session(session, file));

    auto read = read_session(file);
    QVERIFY(read);
    auto input = open_input(std::move(*read), file);
    QVERIFY(input);
    QVERIFY(input->notes.empty());
    QVERIFY(input->kept.has_value());
    auto document = session_report(*input, *compute_, feedback_);
    QVERIFY(document);
    QStringList ids;
    int charts = 0;
    for (const Section& section : document->sections) {
      ids << QString::fromStdString(section.id);
      for (const Block& block : section.blocks)
        if (const auto* figure = std::get_if<Figure>(&block)) {
          ++charts;
          QSvgRenderer svg;
          QVERIFY2(svg.load(QByteArray::fromStdString(figure->svg)), figure->caption.c_str());
        }
    }
    for (const char* id : {"model", "plan", "layers", "quality", "variants", "transcripts", "desk",
                           "checklist", "environment"})
      QVERIFY2(ids.contains(QLatin1String(id)), id);
    QCOMPARE(charts, 1 + 4 + 1 + 1 + 1); // SQNR, worst layers, windows, quality by size, desk

    const std::string html = document_html(*document);
    QString problem;
    const QString text = text_of(html, &problem);
    QVERIFY2(problem.isEmpty(), qPrintable(problem));
    for (const char* part :
         {"int4-g64-asym", "5.0 % higher perplexity", "0.0321 \u00b1 0.002", "87.5 %",
          "a <variant> & more", "it gave NaN", "<script>alert(1)</script>", "lm_head", "excluded",
          "model.layers.0.mlp.down_proj", "bitlathe-cli quantize", "\"default\"", "noise floor",
          "original is preferred to a <variant> & more: 24 of 24", "0 of 24 items judged",
          "Baseline measured"})
      QVERIFY2(text.contains(QString::fromUtf8(part), Qt::CaseInsensitive), part);
    // Nothing from elsewhere, and nothing that runs.
    for (const char* part : {"<script", "src=", "@import", "url("})
      QVERIFY2(html.find(part) == std::string::npos, part);

    const fs::path paper = place("report.pdf");
    QVERIFY(write_document(*document, paper));
    const auto bytes = read_file(paper);
    QVERIFY(bytes);
    QVERIFY(bytes->compare(0, 5, "%PDF-") == 0);
    QVERIFY(bytes->size() > 20000);
    QVERIFY(write_document(*document, place("report.html")));
    QVERIFY(!write_document(*document, place("report.docx")));
    QVERIFY(!write_document(*document, fs::path("/nowhere/at/all/report.pdf")));
  }

  void whatIsGoneIsSaid() {
    Session session = this->session();
    session.result = "/not/there";
    session.recipe.default_scheme = "int9-nothing";
    session.compare.reset();
    auto input = open_input(session, place("other.bitlathe"));
    QVERIFY(input);
    QCOMPARE(input->notes.size(), std::size_t(2));
    auto document = session_report(*input, *compute_, feedback_);
    QVERIFY(document);
    QString problem;
    const QString text = text_of(document_html(*document), &problem);
    QVERIFY(problem.isEmpty());
    for (const char* part : {"/not/there", "int9-nothing", "Nothing was measured"})
      QVERIFY2(text.contains(QLatin1String(part)), part);
    session.checkpoint = "/no/model";
    const auto missing = open_input(session, place("other.bitlathe"));
    QVERIFY(!missing);
    QVERIFY(missing.error().text().find("/no/model") != std::string::npos);
  }

  void cancelled() {
    auto input = open_input(session(), place("other.bitlathe"));
    QVERIFY(input);
    Feedback feedback;
    feedback.stop = true;
    const auto document = session_report(*input, *compute_, feedback);
    QVERIFY(!document);
    QVERIFY(document.error().cancelled());
  }

  void manyCandidates() {
    CompareReport report = figures();
    CompareResult better = report.models[0];
    better.kld_mean = 1e-7;
    better.kld_stderr = 1e-8;
    report.models.push_back(better);
    const ComparisonShown shown{report,  "reference", 8u << 20, {"one", "two"},
                                nullptr, nullptr,     {}};
    const DocumentTable table = figures_table(shown);
    QCOMPARE(table.rows.size(), std::size_t(3));
    QCOMPARE(table.rows[1][1], std::string("3.00 MiB"));
    QCOMPARE(table.rows[1][3], std::string("1.05 \xC2\xB1 0.01"));
    QCOMPARE(table.rows[2].back(), std::string("not distinguishable from the original"));
    for (const auto& row : table.rows)
      QCOMPARE(row.size(), table.columns.size());
    for (const auto& row : divergence_table(shown).rows)
      QCOMPARE(row.size(), divergence_table(shown).columns.size());
  }

  void charactersThatPagesForbid() {
    const std::string hostile = std::string("a\x01<b>\"&") + '\0' + "\xff\xEF\xBF\xBF";
    QString problem;
    Document document{hostile, hostile, {{"x", hostile, {}}}};
    document.sections[0].blocks = {Paragraph{hostile}, Code{hostile}, Facts{{{hostile, hostile}}},
                                   DocumentTable{{{hostile}}, {{hostile}}, hostile},
                                   bar_figure({{{hostile, 1}}, hostile, {}, {}, hostile})};
    const QString text = text_of(document_html(document), &problem);
    QVERIFY2(problem.isEmpty(), qPrintable(problem));
    QVERIFY(text.contains(QStringLiteral("<b>\"&")));
    QVERIFY(write_pdf(document, place("hostile.pdf")));
  }

  void chartsOfNothingAndOfTheUnmeasured() {
    const double nan = std::nan("");
    for (const Figure& figure :
         {bar_figure({}), point_figure({}), line_figure({}), histogram_figure({}),
          bar_figure({{{"a", nan}, {"b", -2, -3, 4}}, "x", 0.5, {}, ""}),
          point_figure(
              {{{nan, 1}, {1, 0, 2, "zero"}, {1, 2, 5, "a"}}, {}, "x", "y", 0.0, "f", true}),
          line_figure({{{"a", "#000000", {nan, 1, nan, 2}}}, "x", "y", ""})}) {
      QSvgRenderer svg;
      QVERIFY(svg.load(QByteArray::fromStdString(figure.svg)));
      QVERIFY(figure.svg.find("nan") == std::string::npos);
      QVERIFY(figure.svg.find("inf") == std::string::npos);
    }
  }

  void ticks() {
    QCOMPARE(round_ticks(0, 1, 5), (std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1}));
    QCOMPARE(round_ticks(-1, 1, 2), (std::vector<double>{-1, 0, 1}));
    QVERIFY(round_ticks(1, 1, 5).empty());
    QVERIFY(round_ticks(0, HUGE_VAL, 5).empty());
  }

  void numbers() {
    QCOMPARE(bytes_text(17), std::string("17 B"));
    QCOMPARE(bytes_text(3u << 20), std::string("3.00 MiB"));
    QCOMPARE(count_text(656e3), std::string("656 k"));
    QCOMPARE(count_text(7.24e9), std::string("7.24 B"));
    QCOMPARE(seconds_text(0.83), std::string("0.8 s"));
    QCOMPARE(seconds_text(125), std::string("2 min 05 s"));
    QCOMPARE(seconds_text(4320), std::string("1 h 12 min"));
    QCOMPARE(error_text(7.41, 0.12), std::string("7.41 \xC2\xB1 0.12"));
    QCOMPARE(error_text(7.41, 0), std::string("7.41"));
    QCOMPARE(number_text(std::nan("")), std::string("-"));
    QCOMPARE(number_text(17650.4, 3), std::string("17650"));
    QCOMPARE(number_text(1.2e-7, 3), std::string("1.2e-07"));
    QCOMPARE(percent_text(0.125), std::string("12.5 %"));
  }
};

QTEST_MAIN(TestReport)
#include "tst_report.moc"
