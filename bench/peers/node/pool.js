// pool.js - single tasks with piscina, a pool of Node's worker threads; it has
// no lists: `pool_map` is all of them asked for at once.
// SPDX-License-Identifier: MIT
'use strict';

const { cpus } = require('os');
const { isMainThread } = require('worker_threads');

if (!isMainThread) {
  module.exports = (x) => 2 * x;
} else {
  main();
}

async function measure(name, count, run) {
  const rates = [];
  for (let round = 0; round < 4; round++) {
    const began = process.hrtime.bigint();
    const sum = await run(count);
    const seconds = Number(process.hrtime.bigint() - began) / 1e9;
    if (sum !== count * (count + 1)) throw new Error(`wrong answer: ${name}`);
    if (round > 0) rates.push(count / seconds);
  }
  rates.sort((a, b) => a - b);
  console.log(`${name} ${rates[1].toPrecision(6)} task/s`);
}

async function main() {
  const Piscina = require('piscina');
  const threads = cpus().length;
  const pool = new Piscina({
    filename: __filename, minThreads: threads, maxThreads: threads,
    concurrentTasksPerWorker: 4,
  });

  async function all(count) {
    const tasks = [];
    for (let i = 1; i <= count; i++) tasks.push(pool.run(i));
    return (await Promise.all(tasks)).reduce((sum, x) => sum + x, 0);
  }

  async function oneByOne(count) {
    let sum = 0;
    for (let i = 1; i <= count; i++) sum += await pool.run(i);
    return sum;
  }

  await measure('pool_map', 50000, all);
  await measure('pool_submit', 20000, all);
  await measure('pool_submit_result', 4000, oneByOne);
  await pool.destroy();
}
