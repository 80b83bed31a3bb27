/* Links with one of the libraries of constructor.c. */
void early(void);

int main(void)
{
	early();
	return 0;
}
