// The peer: an avatar is drawn for each request, as DiceBear's HTTP API does. Bare Node, in as
// many processes as there are cores.
import cluster from 'node:cluster';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Avatar, Style } from '@dicebear/core';
import { Resvg } from '@resvg/resvg-js';

const [, , port, processes] = process.argv.map(Number);
const definition = new URL('node_modules/@dicebear/styles/dist/toon-head.min.json', import.meta.url);
const style = new Style(JSON.parse(readFileSync(definition)));

function draw(seed) {
  const svg = new Avatar(style, { seed, size: 512 }).toString();
  return new Resvg(svg, { fitTo: { mode: 'width', value: 512 } }).render().asPng();
}

if (cluster.isPrimary && processes > 1) {
  for (let number = 0; number < processes; number++) cluster.fork();
} else {
  createServer((request, response) => {
    const png = draw(new URL(request.url, 'http://localhost').searchParams.get('seed'));
    response.writeHead(200, { 'Content-Type': 'image/png', 'Content-Length': png.length });
    response.end(png);
  }).listen(port, '127.0.0.1');
}
