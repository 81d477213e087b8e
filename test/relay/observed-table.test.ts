import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import type { Observed } from '../../src/admin-api.ts'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { OBSERVED_MAX, observedTable, type Who } from '../../src/relay/observed-table.ts'

const who = (uid: number, more: Partial<Who> = {}): Who => ({
  ...{ uid, unit: undefined, container: undefined, network: 'host', isPlaced: true },
  ...more,
})
const read = () =>
  Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url: '/latest' })

test('whoever names containers at will drives out nobody, and does not fill the log', () => {
  const told: Observed[] = []
  const table = observedTable({ dialect: aliyun, onTokenless: (seen) => told.push(seen) })
  table.add(who(7), read())
  for (let made = 0; made < 2 * OBSERVED_MAX; made += 1) {
    table.add(who(1000, { container: `c${made}` }), read())
  }
  expect(table.seen()).toHaveLength(OBSERVED_MAX)
  expect(table.seen()[0]).toMatchObject({ uid: 7, readsWithoutToken: 1 })
  expect(told.length).toBeLessThan(OBSERVED_MAX)
})
