-- People wait for the few rows that follow; without it a person's score can be committed beside ours at the same moment.
LOCK TABLE {I_SCORES} IN EXCLUSIVE MODE WAIT 10
