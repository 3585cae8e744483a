// bench/peers/llama_generate.mjs MODEL FILE THREADS TOKENS - llama.cpp goes on with a text, greedily; prints what it took as JSON.
import fs from "node:fs";
import {getLlama} from "node-llama-cpp";

const [path, file, threads, tokens] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", maxThreads: Number(threads), logLevel: "error"});
const model = await llama.loadModel({modelPath: path, gpuLayers: 0});
const prompt = model.tokenize(fs.readFileSync(file, "utf8"), true);
const context = await model.createContext({
  contextSize: prompt.length + Number(tokens) + 8, batchSize: 512, threads: Number(threads), flashAttention: true
});
const began = performance.now();
const times = [];
for await (const _ of context.getSequence().evaluate(prompt, {temperature: 0})) {
  times.push(performance.now());
  if (times.length === Number(tokens)) break;
}
const decoded = times.length - 1;
console.log(JSON.stringify({
  prompt_tokens: prompt.length, tokens: times.length,
  prefill: prompt.length / (times[0] - began) * 1000,
  decode: decoded / (times[decoded] - times[0]) * 1000
}));
process.exit(0);
