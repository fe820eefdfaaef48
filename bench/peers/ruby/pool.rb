# pool.rb - the lists of the workload with the gem parallel, which sends one
# task at a time, and slices of the list for `pool_map`.
# SPDX-License-Identifier: MIT
require 'etc'
require 'parallel'

ROUNDS = 3
MAP_ROUNDS = 20 # short ones
WORKERS = Etc.nprocessors

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def measure(name, count, rounds = ROUNDS)
  numbers = (1..count).to_a
  rates = (0..rounds).map do
    began = now
    results = yield numbers
    rate = count / (now - began)
    raise "wrong answer: #{name}" unless results.sum == count * (count + 1)
    rate
  end
  puts format('%s %.6g task/s', name, rates.drop(1).sort[rounds / 2])
end

$stdout.sync = true
measure('pool_map', 100_000, MAP_ROUNDS) do |numbers|
  slices = numbers.each_slice(numbers.size / (4 * WORKERS)).to_a
  Parallel.flat_map(slices, in_processes: WORKERS) do |slice|
    slice.map { |x| 2 * x }
  end
end
measure('pool_chunk_1', 10_000) do |numbers|
  Parallel.map(numbers, in_processes: WORKERS) { |x| 2 * x }
end
