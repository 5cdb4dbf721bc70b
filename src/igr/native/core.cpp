#include "core.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <new>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace igr {

namespace {

constexpr int kAlign = 16;        // floats; parameters start and end at whole vectors of every instruction set
constexpr int64_t kGroups = 32;   // into which a batch's tiles are divided, at most: a group's sums are one task's
constexpr int64_t kPartRows = int64_t(1) << 21;  // rows of the table that a task's derivatives are kept of, at most
constexpr size_t kLargePage = size_t(1) << 21;  // bytes

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

Floats::Floats(int64_t size) : size_(size) {
  const size_t bytes = size_t(round_up(size, kAlign)) * sizeof(float);
  const size_t align = bytes >= kLargePage ? kLargePage : 64;
  data_ = {static_cast<float*>(::operator new[](bytes, std::align_val_t(align))), Free{align}};
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (align == kLargePage) madvise(data_.get(), bytes, MADV_HUGEPAGE);  // only advice: failure does no harm
#endif
  memset(data_.get(), 0, bytes);
}

Core::Core(const Shape& shape, const std::string& instruction_set)
    : shape_(shape),
      instruction_set_(instruction_set == "auto" ? instruction_sets().back() : instruction_set),
      kernels_{},
      network_{},
      pool_(shape.threads) {
  if (!find_kernels(instruction_set_)(kernels_, shape.dimension, shape.features, shape.width))
    throw std::invalid_argument("dimension must be 2 or 3, features 1, 2 or 4, and width 32 or 64");
  const int d = shape.dimension, width = shape.width, inputs = d + int(shape.levels.size()) * shape.features;
  if (inputs > kernels_.max_inputs)
    throw std::invalid_argument("too many levels: coordinates and features must be at most " +
                                std::to_string(kernels_.max_inputs));
  int64_t rows = 0;
  for (const Level& level : shape.levels) rows = std::max(rows, level.offset + level.rows);
  int64_t end = 0;
  const auto place = [&](const char* name, int64_t r, int64_t c) {
    places_.push_back({name, end, r, c});
    end += round_up(r * std::max<int64_t>(c, 1), kAlign);
    return places_.back().offset;
  };
  const int64_t weight1 = place("weight1", width, inputs), bias1 = place("bias1", width, 0);
  const int64_t weight2 = place("weight2", width, width), bias2 = place("bias2", width, 0);
  const int64_t weight3 = place("weight3", width, 0), bias3 = place("bias3", 1, 0);
  table_start_ = place("table", rows, shape.features);
  for (Floats* array : {&values, &first, &second}) *array = Floats(end);
  gradient_ = Floats(table_start_);
  const float* start = values.data();
  network_ = {d,           inputs,          inputs,          width,           shape.beta,     start + weight1,
              start + bias1, start + weight2, start + bias2, start + weight3, start + bias3};
  sums_floats_ = round_up(int64_t(inputs) * width + width * width + 3 * width + 1, kAlign);
  tile_floats_ = int64_t(kTile) * (3 * inputs + d * (inputs - d) + 3 * width + d);
  for (int i = 0; i < pool_.threads(); i++) {
    workers_.push_back(std::make_unique<Worker>());
    workers_.back()->scratch = Floats(kernels_.scratch);
    workers_.back()->tile = Floats(tile_floats_);
  }
}

void Core::set_level_weights(const float* weights) {
  const std::lock_guard<std::mutex> lock(mutex_);
  network_.used = shape_.dimension;
  for (size_t i = 0; i < shape_.levels.size(); i++) {
    if (shape_.levels[i].weight != weights[i]) {
      pending_ = -1;
      derived_ = false;
    }
    shape_.levels[i].weight = weights[i];
    if (weights[i] != 0) network_.used = shape_.dimension + int(i + 1) * shape_.features;
  }
}

std::vector<float> Core::level_weights() const {
  std::vector<float> weights;
  for (const Level& level : shape_.levels) weights.push_back(level.weight);
  return weights;
}

std::array<double, Core::kPhases> Core::phase_seconds() const {
  std::array<double, kPhases> total{};
  for (const auto& worker : workers_)
    for (size_t i = 0; i < kPhases; i++) total[i] += worker->seconds[i] / pool_.threads();
  return total;
}

void Core::clock(Worker& worker, Phase phase) {
  const auto now = std::chrono::steady_clock::now();
  worker.seconds[phase] += std::chrono::duration<double>(now - worker.mark).count();
  worker.mark = now;
}

void Core::reserve(int64_t tiles) {
  if (tiles * tile_floats_ > tiles_.size()) tiles_ = Floats(tiles * tile_floats_);
  if (tiles * kTile > df_.size()) df_ = Floats(tiles * kTile);
  if (sums_.size() == 0) sums_ = Floats(kGroups * sums_floats_);
}

Tile Core::tile_in(float* start) const {
  const int64_t inputs = int64_t(network_.inputs) * kTile, d = shape_.dimension;
  Tile tile{};
  tile.inputs = start;
  tile.jacobian = tile.inputs + inputs;
  tile.sensitivity = tile.jacobian + d * (inputs - d * kTile);
  tile.hidden = tile.sensitivity + inputs;
  tile.dgradient = tile.hidden + 3 * shape_.width * kTile;
  tile.dinputs = tile.dgradient + d * kTile;
  return tile;
}

Sums Core::sums_in(float* start) const {
  const int64_t width = shape_.width;
  Sums sums{};
  sums.weight1 = start;
  sums.weight2 = sums.weight1 + network_.inputs * width;
  sums.bias1 = sums.weight2 + width * width;
  sums.bias2 = sums.bias1 + width;
  sums.weight3 = sums.bias2 + width;
  sums.bias3 = sums.weight3 + width;
  return sums;
}

// kTile points from number `first` as rows of coordinates; those beyond n are at the origin.
void Core::load_points(const float* x, int64_t first, int64_t n, float* rows) const {
  const int d = shape_.dimension;
  for (int p = 0; p < kTile; p++)
    for (int a = 0; a < d; a++) rows[a * kTile + p] = first + p < n ? x[(first + p) * d + a] : 0;
}

// Writes the first n of a tile's rows to `out` as points.
static void store_points(const float* rows, int d, int64_t first, int64_t n, float* out) {
  const int count = int(std::min<int64_t>(kTile, n - first));
  for (int p = 0; p < count; p++)
    for (int a = 0; a < d; a++) out[(first + p) * d + a] = rows[a * kTile + p];
}

// Features of the levels that are on; those of a level that is off, below one that is on, are 0.
void Core::encode(const Tile& tile, bool with_jacobian) const {
  const int d = shape_.dimension, features = shape_.features, all = network_.inputs - d;
  const float* table = values.data() + table_start_;
  for (int l = 0; d + l * features < network_.used; l++) {
    const Level& level = shape_.levels[size_t(l)];
    float* value = tile.inputs + (d + l * features) * kTile;
    float* jacobian = tile.jacobian + l * features * kTile;
    if (level.weight != 0) {
      kernels_.encode(level, shape_.bound, table, tile.inputs, value, with_jacobian ? jacobian : nullptr, all * kTile);
      continue;
    }
    const size_t bytes = sizeof(float) * size_t(features * kTile);
    memset(value, 0, bytes);
    for (int a = 0; a < d; a++) memset(jacobian + a * all * kTile, 0, bytes);
  }
}

void Core::forward(const float* x, int64_t n, float* f, float* g) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t tiles = (n + kTile - 1) / kTile, size = (tiles + kGroups - 1) / kGroups;
  reserve(tiles);
  pool_.run(int(tiles ? (tiles + size - 1) / size : 0), [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const int64_t begin = group * size, end = std::min(begin + size, tiles);
    clock(worker);
    for (int64_t i = begin; i < end; i++) {
      load_points(x, i * kTile, n, tile(i).inputs);
      encode(tile(i), true);
    }
    clock(worker, kFeatures);
    for (int64_t i = begin; i < end; i++) {
      float value[kTile], slope[3 * kTile];
      kernels_.forward(network_, tile(i), value, slope, worker.scratch.data());
      store_points(value, 1, i * kTile, n, f);
      store_points(slope, shape_.dimension, i * kTile, n, g);
    }
    clock(worker, kMlp);
  });
  pending_ = n;
  derived_ = false;
}

void Core::backward(const float* df, const float* dg) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t n = pending_, tiles = (n + kTile - 1) / kTile, size = (tiles + kGroups - 1) / kGroups;
  groups_ = int(tiles ? (tiles + size - 1) / size : 0);
  pool_.run(groups_, [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const int64_t begin = group * size, end = std::min(begin + size, tiles);
    clock(worker);
    for (int64_t i = begin; i < end; i++) {
      load_points(dg, i * kTile, n, tile(i).dgradient);
      for (int64_t p = i * kTile; p < (i + 1) * kTile; p++) df_[p] = p < n ? df[p] : 0;
    }
    kernels_.backward(network_, tile(begin), tile_floats_, int(end - begin), df_.data() + begin * kTile,
                      sums_in(sums_.data() + group * sums_floats_), worker.scratch.data());
    clock(worker, kMlp);
  });
  derived_ = true;
}

void Core::need_backward() const {
  if (!derived_) throw std::runtime_error("there are no derivatives: call forward and backward first");
}

// The network's derivatives from the groups' sums, added in order.
void Core::collect_sums() {
  float* total = sums_.data();
  if (groups_ == 0) memset(total, 0, sizeof(float) * size_t(sums_floats_));
  for (int group = 1; group < groups_; group++)
    for (int64_t i = 0; i < sums_floats_; i++) total[i] += total[group * sums_floats_ + i];
  groups_ = 1;
  const Sums sums = sums_in(total);
  const float* from[] = {sums.weight1, sums.bias1, sums.weight2, sums.bias2, sums.weight3, sums.bias3};
  for (size_t k = 0; k < std::size(from); k++) {
    const Place& place = places_[k];
    float* to = gradient_.data() + place.offset;
    if (place.columns == 0) memcpy(to, from[k], sizeof(float) * size_t(place.rows));
    for (int64_t r = 0; r < place.rows; r++)
      for (int64_t c = 0; c < place.columns; c++) to[r * place.columns + c] = from[k][c * place.rows + r];
  }
}

// The levels that are on, finest first; large ones, and few ones for many threads, in several parts.
std::vector<Core::Part> Core::parts() const {
  const auto is_on = [](const Level& level) { return level.weight != 0; };
  const int64_t levels = std::count_if(shape_.levels.begin(), shape_.levels.end(), is_on);
  std::vector<Part> parts;
  for (int l = int(shape_.levels.size()) - 1; l >= 0; l--) {
    const Level& level = shape_.levels[size_t(l)];
    if (!is_on(level)) continue;
    const int64_t rows = level.rows;
    const int64_t count = std::max((2 * pool_.threads() + levels - 1) / levels, (rows + kPartRows - 1) / kPartRows);
    for (int64_t k = 0; k < count; k++) parts.push_back({l, int32_t(rows * k / count), int32_t(rows * (k + 1) / count)});
  }
  return parts;
}

// Room for a part's derivatives, all 0.
RowSums Core::row_sums(Worker& worker, const Part& part) const {
  const int32_t rows = part.last_row - part.first_row, in_block = kBlock / shape_.features;
  const int32_t offset = int32_t((shape_.levels[size_t(part.level)].offset + part.first_row) % in_block);
  const int64_t size = round_up((int64_t(offset) + rows + 1) * shape_.features, kBlock);
  if (worker.rows.size() < size) {
    worker.rows = Floats(size);
    worker.marks.assign(size_t(size / kBlock), 0);
  }
  return {worker.rows.data(), worker.marks.data(), part.first_row, rows, offset};
}

// Sums the derivatives of a part's rows, point after point.
void Core::scatter(const Part& part, const RowSums& sums) const {
  const int row = shape_.dimension + part.level * shape_.features;
  for (int64_t i = 0; i * kTile < pending_; i++) {
    const Tile at = tile(i);
    kernels_.scatter(shape_.levels[size_t(part.level)], shape_.bound, sums, at.inputs, at.dgradient,
                     at.dinputs + row * kTile, at.sensitivity + row * kTile);
  }
}

void Core::adam(float table_rate, float network_rate, float beta1, float beta2, float epsilon) {
  const std::lock_guard<std::mutex> lock(mutex_);
  need_backward();
  step_count++;
  const double correction1 = 1 - std::pow(double(beta1), double(step_count));
  const double correction2 = 1 - std::pow(double(beta2), double(step_count));
  const AdamStep network_step{float(network_rate / correction1), float(1 / std::sqrt(correction2)), beta1, beta2, epsilon};
  AdamStep table_step = network_step;
  table_step.rate = float(table_rate / correction1);
  const std::vector<Part> tasks = parts();
  pool_.run(1 + int(tasks.size()), [&](int task, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    clock(worker);
    if (task == 0) {
      collect_sums();
      clock(worker, kMlp);
      kernels_.adam(network_step, values.data(), first.data(), second.data(), gradient_.data(), table_start_);
      clock(worker, kAdam);
      return;
    }
    const Part& part = tasks[size_t(task - 1)];
    const RowSums sums = row_sums(worker, part);
    scatter(part, sums);
    clock(worker, kScatter);
    const int64_t begin = table_at(part) - sums.offset * shape_.features;
    kernels_.adam_rows(table_step, values.data() + begin, first.data() + begin, second.data() + begin, sums);
    clock(worker, kAdam);
  });
  pending_ = -1;
  derived_ = false;
}

const Floats& Core::gradient() {
  const std::lock_guard<std::mutex> lock(mutex_);
  need_backward();
  if (gradient_.size() < values.size()) gradient_ = Floats(values.size());
  collect_sums();
  memset(gradient_.data() + table_start_, 0, sizeof(float) * size_t(values.size() - table_start_));  // levels that are off
  for (const Part& part : parts()) {
    const RowSums sums = row_sums(*workers_[0], part);
    scatter(part, sums);
    const int64_t begin = sums.offset * shape_.features, count = sums.rows * shape_.features;
    memcpy(gradient_.data() + table_at(part), sums.values + begin, sizeof(float) * size_t(count));
    memset(sums.values, 0, sizeof(float) * size_t(begin + count + shape_.features));
    memset(sums.marks, 0, size_t((begin + count) / kBlock + 1));
  }
  return gradient_;
}

void Core::evaluate(const float* x, int64_t n, float* f, float* g) {
  const std::lock_guard<std::mutex> lock(mutex_);
  constexpr int64_t size = 8;  // tiles a task
  const int64_t tiles = (n + kTile - 1) / kTile;
  pool_.run(int((tiles + size - 1) / size), [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const Tile tile = tile_in(worker.tile.data());
    for (int64_t i = group * size; i < std::min((group + 1) * size, tiles); i++) {
      float value[kTile], slope[3 * kTile];
      load_points(x, i * kTile, n, tile.inputs);
      encode(tile, g != nullptr);
      if (g) {
        kernels_.forward(network_, tile, value, slope, worker.scratch.data());
        store_points(slope, shape_.dimension, i * kTile, n, g);
      } else {
        kernels_.value(network_, tile.inputs, value, worker.scratch.data());
      }
      store_points(value, 1, i * kTile, n, f);
    }
  });
}

}  // namespace igr
