import { PAGES } from './block.ts'

/** Pages by the test file that runs them, so that two run at a time. */
const NAMED = {
  first: ['README.md', 'CONTRIBUTING.md', 'docs/tutorial.md'],
  guides: ['docs/how-to.md', 'docs/incident.md', 'docs/install.md', 'docs/runbook.md'],
  elsewhere: ['docs/fleet.md', 'docs/identity.md', 'docs/simulate.md', 'docs/verify.md'],
}

export const GROUPS = {
  ...NAMED,
  others: PAGES.filter((page) => !Object.values(NAMED).flat().includes(page)),
}
