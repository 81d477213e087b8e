import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ERRORS_PAGE, errorsPage } from './errors-page.ts'

test('docs/errors.md is what src/error-table.ts says; ./dev fix writes it', () => {
  expect(readFileSync(ERRORS_PAGE, 'utf8')).toBe(errorsPage())
})
