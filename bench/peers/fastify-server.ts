import { readFileSync } from 'node:fs'
import { fastify } from 'fastify'

/** What metabind is compared with: fastify that answers every request with the same text. `SOCKET FILE` */
const [socket = '', from = ''] = process.argv.slice(2)
const body = readFileSync(from, 'utf8')
const server = fastify({ keepAliveTimeout: 75_000 })
for (const method of ['GET', 'PUT'] as const) {
  server.route({
    method,
    url: '/*',
    handler: (_request, reply) => reply.type('text/plain').send(body),
  })
}
await server.listen({ path: socket })
