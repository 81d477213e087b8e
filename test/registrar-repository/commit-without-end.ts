import { writeSync } from 'node:fs'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { enrolledRow, NOW_MS } from '../registrar/enrolled.ts'

/** Writes to the database at the path of its argument, and says of each write that it was acknowledged, until killed. */

const repository = sqliteRepository(process.argv[2] ?? '')
for (let revision = 1; ; revision += 1) {
  const change = { instances: [enrolledRow({ revision })], events: [{ event: 'test', revision }] }
  if (!(await repository.commit(change, NOW_MS))) throw new Error('not written')
  writeSync(1, `${revision}\n`)
}
