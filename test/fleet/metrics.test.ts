import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { scratch } from '../harness/metabind.ts'
import { startRegistrarProcess } from './registrar-process.ts'

test('metrics count what was asked, by routes and not by what somebody chose, on an address of their own', async () => {
  const place = await scratch()
  const port = await freePort()
  const more = `[metrics]\nport = ${port}\n`
  const registrar = await startRegistrarProcess(join(place.path, 'r'), more)
  onTestFinished(async () => {
    await registrar.end()
    await place[Symbol.asyncDispose]()
  })
  for (const path of ['/jwks.json', '/jwks.json', '/chosen-by-somebody', '/token?chosen']) {
    await (await fetch(`${registrar.origin}${path}`)).arrayBuffer()
  }
  const scraped = await fetch(`http://127.0.0.1:${port}/metrics`)
  expect(scraped.headers.get('content-type')).toContain('text/plain')
  const text = await scraped.text()
  expect(text).toContain('metabind_registrar_requests_total{route="/jwks.json",status="200"} 2\n')
  expect(text).toContain('metabind_registrar_requests_total{route="none",status="404"} 2\n')
  expect(text).not.toContain('chosen')
  for (const state of ['active', 'held', 'suspended', 'evicted', 'banned']) {
    expect(text).toContain(`metabind_registrar_instances{state="${state}"} 0\n`)
  }
  expect(text).toMatch(/^metabind_registrar_refreshed_timestamp_seconds \d{10}/m)
  expect((await fetch(`http://127.0.0.1:${port}/jwks.json`)).status).toBe(404)
  expect((await fetch(`${registrar.origin}/metrics`)).status).toBe(404)
})
