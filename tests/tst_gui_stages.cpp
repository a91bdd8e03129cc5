// SPDX-License-Identifier: GPL-3.0-or-later
// Models and logic behind the stages Quantize, Compare, Evaluate and Export.
#include "app/gui/compare/generation.h"
#include "app/gui/compare/generation_runner.h"
#include "app/gui/compare/prompts_model.h"
#include "app/gui/compare/token_view.h"
#include "app/gui/evaluate/figures_model.h"
#include "app/gui/export/exports_model.h"
#include "app/gui/export/findings_html.h"
#include "app/gui/export/formats_model.h"
#include "app/gui/quantize/error_chart.h"
#include "app/gui/quantize/results_model.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/save_menu.h"
#include "core/eval/verdict.h"

#include <functional>
#include <QAbstractItemModelTester>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QSignalSpy>
#include <QtTest>
#include <random>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

Plan samplePlan() {
  Plan plan;
  const auto add = [&](const char* name, const char* scheme, bool quantize, int layer) {
    PlannedModule module;
    module.name = name;
    module.role = "q_proj";
    module.layer = layer;
    module.scheme = *parse_scheme(scheme);
    module.method = quantize ? "rtn" : "";
    module.reason = quantize ? "default" : "kept: norm";
    module.quantize = quantize;
    module.bytes_before = 4096;
    module.bytes_after = quantize ? 1100 : 4096;
    plan.modules.push_back(module);
  };
  add("model.embed_tokens", "bf16", false, -1);
  add("model.layers.0.self_attn.q_proj", "int4-g128-asym", true, 0);
  add("model.layers.1.self_attn.q_proj", "int8-channel-sym", true, 1);
  return plan;
}

ModuleResult result(const char* name, const char* scheme, double sqnr, bool quantized = true) {
  ModuleResult out;
  out.name = name;
  out.scheme = scheme;
  out.method = quantized ? "rtn" : "";
  out.reason = "default";
  out.bytes = 1100;
  out.quantized = quantized;
  out.sqnr_db = sqnr;
  out.mse = std::pow(10, -sqnr / 10);
  out.cosine = 0.999;
  out.seconds = 0.25;
  return out;
}

CompareReport report(double ratio, double ratioError, double kl, double klError, double floor) {
  CompareReport out;
  out.reference_perplexity = 10;
  out.reference_stderr = 0.2;
  out.noise_floor = floor;
  CompareResult model;
  model.path = "/q";
  model.tokens = 1000;
  model.perplexity = 10 * ratio;
  model.perplexity_stderr = 0.2;
  model.reference_perplexity = 10;
  model.ppl_ratio = ratio;
  model.ppl_ratio_stderr = ratioError;
  model.kld_mean = kl;
  model.kld_stderr = klError;
  model.kld_p99 = kl * 10;
  model.top1_agreement = 0.97;
  model.seconds = 2;
  out.models.push_back(model);
  return out;
}

ShownToken token(int id, const QString& text) {
  ShownToken out;
  out.id = id;
  out.bytes = text.toUtf8();
  out.text = text;
  return out;
}

} // namespace

class TestGuiStages : public QObject {
  Q_OBJECT
 private Q_SLOTS:

  void initTestCase() { QStandardPaths::setTestModeEnabled(true); }

  // --- token view -----------------------------------------------------------------------------

  void tokenViewPlacesEveryToken() {
    TokenView view;
    view.resize(220, 400);
    view.show();
    view.setPrompt(QStringLiteral("Once upon a time"));
    QList<ShownToken> tokens;
    for (int i = 0; i < 60; ++i)
      tokens << token(i, i % 11 == 10 ? QStringLiteral("\n")
                                      : (i % 3 ? QStringLiteral(" word") : QStringLiteral("ly")));
    tokens << token(99, QStringLiteral(" ") + QString(200, QLatin1Char('x'))); // wider than a line
    view.appendTokens(tokens.mid(0, 25)); // in two steps, as they stream in
    view.appendTokens(tokens.mid(25));
    QRectF streamed;
    for (int i = 0; i < tokens.size(); ++i) {
      const QRectF rect = view.tokenRect(i);
      QVERIFY2(rect.isValid(), qPrintable(QString::number(i)));
      QVERIFY(rect.right() <= view.viewport()->width());
      streamed = streamed.united(rect);
    }
    // The same text laid out at once lies in the same place.
    TokenView whole;
    whole.resize(view.size());
    whole.show();
    whole.setPrompt(QStringLiteral("Once upon a time"));
    whole.setTokens(tokens);
    for (int i = 0; i < tokens.size(); ++i)
      QCOMPARE(view.tokenRect(i), whole.tokenRect(i));
    QSignalSpy picked(&whole, &TokenView::picked);
    QTest::keyClick(&whole, Qt::Key_Home);
    QCOMPARE(picked.takeFirst().first().toLongLong(), 0);
    whole.setMarks(5, {});
    QTest::keyClick(&whole, Qt::Key_D);
    QCOMPARE(picked.takeFirst().first().toLongLong(), 5);
  }

  // --- results --------------------------------------------------------------------------------

  void resultsArriveInBatches() {
    ResultsModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setPlan(samplePlan());
    QCOMPARE(model.rowCount(), 3);
    QCOMPARE(model.index(1, ResultsModel::sqnr).data().toString(), QString::fromUtf8("\u2013"));
    QSignalSpy changed(&model, &QAbstractItemModel::dataChanged);
    std::vector<ModuleResult> results{
        result("model.embed_tokens", "bf16", 300, false),
        result("model.layers.0.self_attn.q_proj", "int4-g128-asym", 21.5)};
    results[1].output_error = 0.0123;
    model.update(results);
    QCOMPARE(changed.size(), 1); // one signal for the batch
    QCOMPARE(model.index(1, ResultsModel::output).data().toString(), QStringLiteral("1.23"));
    QCOMPARE(model.storedCount(), 1);
    QCOMPARE(model.index(1, ResultsModel::sqnr).data().toString(), QStringLiteral("21.50"));
    QCOMPARE(model.index(1, ResultsModel::sqnr).data(sort_role).toDouble(), 21.5);
    QCOMPARE(model.index(1, ResultsModel::scheme).data(bits_role).toDouble(), 4.0);
    QCOMPARE(model.index(0, ResultsModel::method).data().toString(), QStringLiteral("kept"));
    QVERIFY(model.index(0, 0).data(faded_role).toBool());
    results.push_back(result("model.layers.1.self_attn.q_proj", "int8-channel-sym", 300));
    model.update(results);
    QCOMPARE(model.storedCount(), 2);
    QCOMPARE(model.index(2, ResultsModel::sqnr).data().toString(), QStringLiteral("exact"));
    model.setResults(results, nullptr);
    QCOMPARE(model.rowCount(), 3);
    QCOMPARE(model.rowOf(QStringLiteral("model.layers.1.self_attn.q_proj")), 2);
    model.clear();
    QCOMPARE(model.rowCount(), 0);
  }

  void resultsAsCsv() {
    ResultsModel model;
    model.setPlan(samplePlan());
    const QStringList lines = modelToCsv(model).split('\n');
    QVERIFY(lines[0].startsWith(QStringLiteral("Module,Scheme,Method,Bytes")));
    QVERIFY(
        lines[2].startsWith(QStringLiteral("model.layers.0.self_attn.q_proj,int4-g128-asym,rtn")));
    ErrorChart chart;
    model.update({result("model.layers.0.self_attn.q_proj", "int4-g128-asym", 20)});
    chart.setRows(model.rows());
    QCOMPARE(chart.csv().split('\n').at(1),
             QStringLiteral("model.layers.0.self_attn.q_proj,int4-g128-asym,rtn,20,0.01,0.999,0"));
  }

  // --- verdicts and figures -------------------------------------------------------------------

  void verdicts() {
    CompareReport within = report(1.001, 0.002, 2e-5, 1e-6, 3e-5);
    QCOMPARE(judge(within.models[0], within).standing, Standing::same);
    CompareReport close = report(1.001, 0.002, 2e-3, 1e-4, 3e-5);
    QVERIFY(ppl_within_error(close.models[0], close));
    QVERIFY(!kl_within_noise(close.models[0], close));
    QCOMPARE(judge(close.models[0], close).standing, Standing::close);
    CompareReport worse = report(1.07, 0.004, 0.05, 1e-3, 3e-5);
    QCOMPARE(judge(worse.models[0], worse).standing, Standing::worse);
    QCOMPARE(judge(worse.models[0], worse).text, std::string("7.0 % higher perplexity"));
    CompareReport better = report(0.98, 0.004, 0.05, 1e-3, 3e-5);
    QCOMPARE(judge(better.models[0], better).standing, Standing::better);
    CompareReport broken = report(1e6, 10, 9, 1e-3, 3e-5);
    QCOMPARE(judge(broken.models[0], broken).standing, Standing::broken);
    broken.models[0].perplexity = NAN;
    QCOMPARE(judge(broken.models[0], broken).standing, Standing::broken);
    // Without a paired error the two separate ones bound it.
    CompareReport old = report(1.02, 0, 0.01, 1e-3, 3e-5);
    QCOMPARE(ratio_error(old.models[0], old), 1.02 * std::hypot(0.2 / 10.2, 0.02));
    QVERIFY(ppl_within_error(old.models[0], old));
    QCOMPARE(judge(CompareResult(), old).standing, Standing::unknown);
  }

  void figures() {
    const CompareReport measured = report(1.07, 0.004, 0.05, 1e-3, 3e-5);
    const QList<FigureSource> sources{{"original", "/o", {}, 8000, 4000},
                                      {"other", "/x", "no tokenizer", 8000, 4000},
                                      {"int4", "/q", {}, 2000, 4000}};
    FiguresModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setRows(figureRows(sources, nullptr));
    QCOMPARE(model.rowCount(), 3);
    QVERIFY(!model.rows()[0].measured);
    model.setRows(figureRows(sources, &measured)); // found by path, not by place
    QVERIFY(model.rows()[0].measured && !model.rows()[1].measured && model.rows()[2].measured);
    QCOMPARE(model.rows()[2].bitsPerWeight, 4.0);
    QCOMPARE(model.rows()[2].tokensPerSecond, 500.0);
    QCOMPARE(model.index(1, FiguresModel::verdict).data().toString(),
             QStringLiteral("no tokenizer"));
    QVERIFY(model.index(2, FiguresModel::perplexity)
                .data()
                .toString()
                .contains(QString::fromUtf8("\u00b1")));
    QCOMPARE(model.index(2, FiguresModel::top1).data().toString(), QStringLiteral("97.00 %"));
    QSignalSpy reset(&model, &QAbstractItemModel::modelReset);
    model.setRows(figureRows(sources, &measured));
    QCOMPARE(reset.size(), 0); // same contenders: selection stays
  }

  // --- exports --------------------------------------------------------------------------------

  void findingsAreGrouped() {
    const std::vector<Finding> findings{
        {Finding::Level::refuse, "a", "int3 does not fit; int4 does"},
        {Finding::Level::refuse, "b", "int3 does not fit; int4 does"},
        {Finding::Level::note, {}, "<b>plain</b>"}};
    const auto groups = groupFindings(findings);
    QCOMPARE(groups.size(), 2);
    QCOMPARE(groups[0].modules, QStringList({"a", "b"}));
    FormatRow row;
    row.report.findings = findings;
    row.refusals = 2;
    row.state = FormatState::refuses;
    QVERIFY(findingsHtml(row).contains(QStringLiteral("&lt;b&gt;plain")));
    QCOMPARE(formatStateText(row), QStringLiteral("cannot hold 2 modules"));
  }

  void formatsOfTheRegistry() {
    FormatsModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    QCOMPARE(model.rowCount(), int(all_exporters().size()));
    model.forget();
    for (const FormatRow& row : model.rows())
      QCOMPARE(row.state, FormatState::unknown);
    QCOMPARE(model.rowOf(QStringLiteral("no such format")), -1);
  }

  void exportsModel() {
    ExportsModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    ExportRow row;
    row.path = QStringLiteral("/tmp/demo/demo-q4_0.gguf");
    row.bytes = 2048;
    model.setRows({row});
    QCOMPARE(model.index(0, ExportsModel::name).data().toString(),
             QStringLiteral("demo-q4_0.gguf"));
    QCOMPARE(model.index(0, ExportsModel::verification).data().toString(),
             QStringLiteral("not verified"));
    row.check = ExportRow::Check::passed;
    row.checkText = QStringLiteral("fine");
    QSignalSpy reset(&model, &QAbstractItemModel::modelReset);
    model.setRows({row});
    QCOMPARE(reset.size(), 0);
    QCOMPARE(model.index(0, ExportsModel::verification).data().toString(), QStringLiteral("fine"));
    model.setRows({});
    QCOMPARE(model.rowCount(), 0);
  }
};

QTEST_MAIN(TestGuiStages)
#include "tst_gui_stages.moc"
